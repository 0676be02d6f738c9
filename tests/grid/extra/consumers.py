"""Consumers for the grid, each with one behaviour that the project's own do not have."""

import asyncio
import logging
import os
import socket

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path
from realtime.consumers import Consumer

logger = logging.getLogger(__name__)


class RefuseConsumer(AsyncWebsocketConsumer):
    """Refuse the handshake."""

    async def connect(self) -> None:
        await self.close()


class SubprotocolConsumer(AsyncWebsocketConsumer):
    """Choose the subprotocol chat.v2 if the client offers it."""

    async def connect(self) -> None:
        await self.accept("chat.v2" if "chat.v2" in self.scope["subprotocols"] else None)


class CloseConsumer(AsyncWebsocketConsumer):
    """Close with the code that the client sends, and a reason."""

    async def receive(self, text_data=None, bytes_data=None) -> None:
        await self.close(int(text_data), "because: ü")


class FloodConsumer(AsyncWebsocketConsumer):
    """Send the process id; on a message, send 100 MiB without a pause."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data=None, bytes_data=None) -> None:
        for _ in range(100):
            await self.send(bytes_data=bytes(1024**2))


class TickConsumer(AsyncWebsocketConsumer):
    """On a message, send for two seconds. Log the disconnect."""

    async def receive(self, text_data=None, bytes_data=None) -> None:
        for number in range(200):
            await self.send(str(number))
            await asyncio.sleep(0.01)

    async def disconnect(self, code: int) -> None:
        logger.info("%s disconnected", self.scope["query_string"].decode())


class GroupConsumer(AsyncWebsocketConsumer):
    """Send the process id and forward each message to the group. Log the disconnect."""

    async def connect(self) -> None:
        await self.channel_layer.group_add("group", self.channel_name)
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data=None, bytes_data=None) -> None:
        await self.channel_layer.group_send("group", {"type": "forward", "text": text_data})

    async def forward(self, event: dict) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("group", self.channel_name)
        logger.info("disconnected with %s", code)


class LoadConsumer(Consumer):
    """Subscribe to a stream, with presence for authenticated users. Log the disconnect."""

    async def connect(self) -> None:
        await super().connect()
        self.stream = f"load.{self.scope['url_route']['kwargs']['stream']}"
        await self.send_json({"type": "welcome", "replica": socket.gethostname()})
        await self.subscribe(self.stream, present=self.scope["user"].is_authenticated)

    async def disconnect(self, code: int) -> None:
        logger.info("%s disconnected", self.stream)


websocket_urlpatterns = [
    path("ws/extra/refuse/", RefuseConsumer.as_asgi()),
    path("ws/extra/subprotocol/", SubprotocolConsumer.as_asgi()),
    path("ws/extra/close/", CloseConsumer.as_asgi()),
    path("ws/extra/flood/", FloodConsumer.as_asgi()),
    path("ws/extra/tick/", TickConsumer.as_asgi()),
    path("ws/extra/group/", GroupConsumer.as_asgi()),
    path("ws/extra/load/<slug:stream>/", LoadConsumer.as_asgi()),
]
