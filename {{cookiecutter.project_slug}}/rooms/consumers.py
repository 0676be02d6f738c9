"""The socket of a room."""

import socket
from uuid import UUID, uuid4

from realtime.consumers import CloseCode, Consumer, Refused
from realtime.streams import apublish
from rooms.models import Message

REPLICA = socket.gethostname()


def valid(text: str) -> bool:
    """Whether somebody may say this; not every database can keep a NUL."""
    return 0 < len(text.strip()) <= 2000 and "\0" not in text


class RoomConsumer(Consumer):
    """Everyone in a room hears what anyone says, whichever replica they are connected to."""

    async def connect(self) -> None:
        await super().connect()
        self.require_login()
        room, user = self.scope["url_route"]["kwargs"]["room"], self.scope["user"]
        await self.send_json({"type": "welcome", "you": user.get_username(), "replica": REPLICA})
        await self.subscribe(f"room.{room}", present=True)

    async def receive_json(self, content: dict) -> None:
        match content:
            case {"type": "say", "text": str(text)} if valid(text):
                await self.say(text.strip(), content.get("key"))
            case _:
                raise Refused(CloseCode.PROTOCOL_ERROR)

    async def say(self, text: str, key: object) -> None:
        """Keep a message, then send it to everyone in the room.

        A client that has not heard its own message, as after a lost connection, says it again with
        the same key: it is kept once, and sent once.
        """
        try:
            key = UUID(key) if key else uuid4()
        except (ValueError, AttributeError):
            raise Refused(CloseCode.PROTOCOL_ERROR) from None
        room, user = self.scope["url_route"]["kwargs"]["room"], self.scope["user"]
        message, _ = await Message.objects.aget_or_create(
            author_id=user.pk, key=key, defaults={"room": room, "text": text}
        )
        data = {
            "id": message.pk,
            "key": key,
            "author": user.get_username(),
            "text": message.text,
            "sent_at": message.sent_at,
        }
        await apublish(f"room.{message.room}", data, key=f"{user.pk}.{key}")
