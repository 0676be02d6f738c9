"""Consumers that every project has."""

from channels.generic.websocket import AsyncWebsocketConsumer

from realtime.protocol import CONNECTION_QUOTA_REASON, CloseCode


class EchoConsumer(AsyncWebsocketConsumer):
    """Send each message back, text as text and bytes as bytes."""

    # Uses no groups, so it needs no channel in Redis
    channel_layer_alias = None  # type: ignore[assignment]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data, bytes_data)


class ClosingConsumer(AsyncWebsocketConsumer):
    """Accept, then close with a code.

    Browsers hide the status of a refused handshake from the page, which would retry forever.
    """

    channel_layer_alias = None  # type: ignore[assignment]
    code: CloseCode
    reason: str | None = None

    async def connect(self) -> None:
        await self.accept()
        await self.close(self.code, self.reason)


class NotFoundConsumer(ClosingConsumer):
    """Close with 4404: no consumer has this URL."""

    code = CloseCode.NOT_FOUND


class QuotaExceededConsumer(ClosingConsumer):
    """Close with 4429: the user has too many sockets open."""

    code = CloseCode.LIMIT_EXCEEDED
    reason = CONNECTION_QUOTA_REASON
