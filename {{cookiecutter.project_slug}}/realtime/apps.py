"""Realtime: streams with recovery, presence, quotas, session revocation, tickets."""

from django.apps import AppConfig


class RealtimeConfig(AppConfig):
    """Connects the signals of session revocation."""

    name = "realtime"

    def ready(self) -> None:
        from realtime import revocation  # noqa: F401
