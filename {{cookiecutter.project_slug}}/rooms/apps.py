"""The example: chat rooms. README.md says how to delete it."""

from django.apps import AppConfig


class RoomsConfig(AppConfig):
    """A room needs no record of its own: it is the name that its messages share."""

    name = "rooms"
