"""The example: rooms to talk in. Delete the folder, its routes in config/, and make it yours."""

from django.apps import AppConfig


class RoomsConfig(AppConfig):
    """A room exists as soon as somebody enters it."""

    name = "rooms"
