"""The socket of a room."""

import socket
from typing import Any
from uuid import UUID, uuid4

from realtime.consumers import Consumer, WebSocketException
from realtime.protocol import CloseCode
from realtime.streams import apublish
from rooms.models import Message

REPLICA = socket.gethostname()


def is_valid(text: str) -> bool:
    """Return whether a message may have this text. Not every database can store NUL."""
    return 0 < len(text.strip()) <= 2000 and "\0" not in text


class RoomConsumer(Consumer):
    """Sends each message to all sockets of its room, on every replica."""

    # Uses streams and no groups, so it needs no channel in Redis
    channel_layer_alias = None  # type: ignore[assignment]

    async def connect(self) -> None:
        await super().connect()
        self.require_login()
        room = self.scope["url_route"]["kwargs"]["room"]
        name = self.user.get_username()
        await self.send_json({"type": "welcome", "you": name, "replica": REPLICA})
        await self.subscribe(f"room.{room}", present=True)

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        match content:
            case {"type": "say", "text": str(text)} if is_valid(text):
                await self.say(text.strip(), content.get("key"))
            case _:
                raise WebSocketException(CloseCode.BAD_MESSAGE, "not a message of a room")

    async def say(self, text: str, key: Any) -> None:
        """Store a message, then publish it.

        A client that did not receive its own message, because its connection was lost, sends it
        again with the same key: it is stored once, and published once.
        """
        try:
            key = UUID(key) if key else uuid4()
        except (ValueError, AttributeError):
            raise WebSocketException(CloseCode.BAD_MESSAGE, "the key is not a UUID") from None
        room = self.scope["url_route"]["kwargs"]["room"]
        message, _ = await Message.objects.aget_or_create(
            author_id=self.user.pk, key=key, defaults={"room": room, "text": text}
        )
        data = {
            "id": message.pk,
            "key": key,
            "author": self.user.get_username(),
            "text": message.text,
            "sent_at": message.sent_at,
        }
        await apublish(f"room.{message.room}", data, key=f"{self.user.pk}.{key}")
