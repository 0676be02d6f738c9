"""The application that makes sockets reliable."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Registers the system checks, and what is done when users change."""

    name = "realtime"

    def ready(self) -> None:
        from realtime import checks, users  # noqa: F401
