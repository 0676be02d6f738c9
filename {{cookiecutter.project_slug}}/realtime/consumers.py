"""What sockets have in common, and two that every project has."""

import json
from enum import IntEnum

from channels.generic.websocket import AsyncWebsocketConsumer


class CloseCode(IntEnum):
    """Why the application closes a socket.

    All are in 4000-4999, the only range that every server can send and every browser shows; the
    client takes 44xx as final. https://www.rfc-editor.org/rfc/rfc6455#section-7.4.2
    """

    RECONNECT = 4000
    NOT_AUTHENTICATED = 4401
    NOT_FOUND = 4404
    PROTOCOL_ERROR = 4409


class EchoConsumer(AsyncWebsocketConsumer):
    """Send back what came, text as text and bytes as bytes."""

    channel_layer_alias = None  # needs nobody else, so it costs Redis nothing

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class NotFoundConsumer(AsyncWebsocketConsumer):
    """Answer where there is no socket.

    A refusal before the handshake would reach a browser as a lost connection, and it would try
    again for ever: accept, then close with a code that says so.
    """

    channel_layer_alias = None

    async def connect(self) -> None:
        await self.accept()
        await self.close(CloseCode.NOT_FOUND)


class JsonConsumer(AsyncWebsocketConsumer):
    """A consumer whose every message is a JSON object; a client that sends anything else is closed.

    Subclasses define `receive_json`.
    """

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            content = json.loads(text_data or "")
        except ValueError:
            content = None
        if isinstance(content, dict):
            await self.receive_json(content)
        else:
            await self.close(CloseCode.PROTOCOL_ERROR)

    async def receive_json(self, content: dict) -> None:
        """Handle one message from the client."""
        raise NotImplementedError

    async def send_json(self, content: dict) -> None:
        """Send one message to the client."""
        await self.send(json.dumps(content))
