"""The URLs of WebSockets. nginx passes handshakes on under /ws/ only."""

from channels.routing import URLRouter
from django.urls import path, re_path

from realtime.builtin_consumers import EchoConsumer, NotFoundConsumer
from rooms import routing as rooms

websocket_urlpatterns = [
    path("ws/echo/", EchoConsumer.as_asgi()),
    *rooms.websocket_urlpatterns,
    re_path("", NotFoundConsumer.as_asgi()),
]

websocket_router = URLRouter(websocket_urlpatterns)
