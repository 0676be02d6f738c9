"""The application that makes sockets reliable."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Registers the system checks."""

    name = "realtime"

    def ready(self) -> None:
        from realtime import checks  # noqa: F401
