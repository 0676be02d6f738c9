"""Sockets that do, each, one thing which the project's own do not."""

import asyncio
import logging
import os
import socket

from channels.generic.websocket import AsyncWebsocketConsumer
from django.urls import path
from realtime.consumers import Consumer

logger = logging.getLogger(__name__)


class Refuse(AsyncWebsocketConsumer):
    """Refuses the handshake."""

    async def connect(self) -> None:
        await self.close()


class Subprotocol(AsyncWebsocketConsumer):
    """Speaks one of the protocols that a client offers."""

    async def connect(self) -> None:
        await self.accept("chat.v2" if "chat.v2" in self.scope["subprotocols"] else None)


class Close(AsyncWebsocketConsumer):
    """Closes with the code that it is told, and a reason."""

    async def receive(self, text_data=None, bytes_data=None) -> None:
        await self.close(int(text_data), "because: ü")


class Flood(AsyncWebsocketConsumer):
    """Tells which process it is in; sends 100 MiB, as fast as it may, when it is told to."""

    async def connect(self) -> None:
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data=None, bytes_data=None) -> None:
        for _ in range(100):
            await self.send(bytes_data=bytes(1024**2))


class Tick(AsyncWebsocketConsumer):
    """Sends for two seconds, whoever is there, and logs when it leaves."""

    async def receive(self, text_data=None, bytes_data=None) -> None:
        for number in range(200):
            await self.send(str(number))
            await asyncio.sleep(0.01)

    async def disconnect(self, code: int) -> None:
        logger.info("%s left", self.scope["query_string"].decode())


class Everybody(AsyncWebsocketConsumer):
    """Tells which process it is in, passes on what it gets to its like, and logs when it leaves."""

    async def connect(self) -> None:
        await self.channel_layer.group_add("everybody", self.channel_name)
        await self.accept()
        await self.send(str(os.getpid()))

    async def receive(self, text_data=None, bytes_data=None) -> None:
        await self.channel_layer.group_send("everybody", {"type": "forward", "text": text_data})

    async def forward(self, event: dict) -> None:
        await self.send(event["text"])

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard("everybody", self.channel_name)
        logger.info("left with %s", code)


class Crowd(Consumer):
    """Follows a stream; tells first who answers, shows who has logged in, logs when it leaves."""

    async def connect(self) -> None:
        await super().connect()
        self.stream = f"crowd.{self.scope['url_route']['kwargs']['stream']}"
        await self.send_json({"type": "welcome", "replica": socket.gethostname()})
        await self.subscribe(self.stream, present=self.scope["user"].is_authenticated)

    async def disconnect(self, code: int) -> None:
        logger.info("%s left", self.stream)


sockets = [
    path("ws/extra/refuse/", Refuse.as_asgi()),
    path("ws/extra/subprotocol/", Subprotocol.as_asgi()),
    path("ws/extra/close/", Close.as_asgi()),
    path("ws/extra/flood/", Flood.as_asgi()),
    path("ws/extra/tick/", Tick.as_asgi()),
    path("ws/extra/everybody/", Everybody.as_asgi()),
    path("ws/extra/crowd/<slug:stream>/", Crowd.as_asgi()),
]
