"""Where the rooms are: their pages, and the sockets behind them."""

from django.urls import path, register_converter
from django.urls.converters import SlugConverter

from rooms import views
from rooms.consumers import RoomConsumer


class RoomConverter(SlugConverter):
    """A name that fits the database and, with its prefix, a stream."""

    regex = "[-a-zA-Z0-9_]{1,50}"


register_converter(RoomConverter, "room")

pages = [
    path("", views.home, name="home"),
    path("rooms/<room:room>/", views.room, name="room"),
]

sockets = [
    path("ws/rooms/<room:room>/", RoomConsumer.as_asgi()),
]
