"""The example: rooms to talk in. README.md says how to delete it."""

from django.apps import AppConfig


class RoomsConfig(AppConfig):
    """A room exists as soon as somebody enters it."""

    name = "rooms"
