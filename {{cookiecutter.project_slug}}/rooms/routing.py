"""The sockets of rooms."""

from django.urls import path

from rooms import urls  # noqa: F401  registers the converter `room`
from rooms.consumers import RoomConsumer

websocket_urlpatterns = [path("ws/rooms/<room:room>/", RoomConsumer.as_asgi())]
