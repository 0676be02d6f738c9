"""The socket of a room."""

import json
import logging
import socket

from redis.exceptions import RedisError

from realtime.consumers import CloseCode, JsonConsumer
from rooms.models import Message

logger = logging.getLogger(__name__)

REPLICA = socket.gethostname()


class RoomConsumer(JsonConsumer):
    """Everyone in a room hears what anyone says, whichever replica they are connected to."""

    group = None

    async def connect(self) -> None:
        await self.accept()
        user = self.scope["user"]
        if not user.is_authenticated:
            # After the handshake, because only then does a browser see the code.
            await self.close(CloseCode.NOT_AUTHENTICATED)
            return
        room = self.scope["url_route"]["kwargs"]["room"]
        self.group = f"room.{room}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.send_json(
            {"type": "welcome", "room": room, "you": user.username, "replica": REPLICA}
        )

    async def disconnect(self, code: int) -> None:
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive_json(self, content: dict) -> None:
        match content:
            case {"type": "say", "text": str(text)} if 0 < len(text.strip()) <= 2000:
                await self.say(text.strip())
            case _:
                await self.close(CloseCode.PROTOCOL_ERROR)

    async def say(self, text: str) -> None:
        """Keep a message, then send it to everyone in the room."""
        user = self.scope["user"]
        message = await Message.objects.acreate(
            room=self.scope["url_route"]["kwargs"]["room"], author_id=user.pk, text=text
        )
        # Encoded here, once, and not again for each who hears it.
        encoded = json.dumps(
            {
                "type": "message",
                "id": message.pk,
                "author": user.username,
                "text": text,
                "sent_at": message.sent_at.isoformat(),
            }
        )
        try:
            await self.channel_layer.group_send(self.group, {"type": "forward", "text": encoded})
        except (RedisError, OSError):
            logger.exception("message %s was kept but not sent", message.pk)
            await self.send_json(
                {"type": "error", "detail": "Kept, but not sent to the others: reload to see it."}
            )

    async def forward(self, event: dict) -> None:
        """Pass on what somebody said."""
        await self.send(event["text"])
