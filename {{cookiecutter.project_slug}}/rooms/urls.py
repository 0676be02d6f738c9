"""The pages of rooms."""

from django.urls import path, register_converter
from django.urls.converters import SlugConverter

from rooms import views


class RoomConverter(SlugConverter):
    """A room's name: it fits the database column and, with its prefix, a stream's name."""

    regex = "[-a-zA-Z0-9_]{1,50}"


register_converter(RoomConverter, "room")

urlpatterns = [
    path("", views.home, name="home"),
    path("rooms/<room:room>/", views.room, name="room"),
]
