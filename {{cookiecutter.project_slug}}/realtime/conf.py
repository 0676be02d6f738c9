"""Settings of this library: the dictionary `REALTIME` in Django's settings.

It has the values that differ from the defaults below. `conf.settings().HISTORY_LENGTH` reads one.
"""

from dataclasses import dataclass, field
from functools import cache

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver


@dataclass(frozen=True)
class RealtimeSettings:
    """All settings, with their defaults. Times are in seconds."""

    # Redis, for several processes. Empty: messages stay in the memory of one process.
    REDIS_URL: str = ""
    # Before every key and channel, so that several projects can share one Redis
    REDIS_PREFIX: str = "realtime"

    # Messages that a stream keeps, and how long after the last message or subscriber
    HISTORY_LENGTH: int = 1000
    HISTORY_SECONDS: int = 600

    # Origins, besides the site's own, whose pages may open sockets, such as https://app.example.org
    ALLOWED_ORIGINS: list[str] = field(default_factory=list)
    # Sockets of a user, in all processes together
    SOCKETS_PER_USER: int = 50
    # Until a ticket expires
    TICKET_SECONDS: int = 30

    # Bytes of the largest message; the server enforces it
    MAX_MESSAGE_BYTES: int = 1024**2
    # Messages per second that a client may send, averaged over 20 s
    MESSAGE_RATE: int = 50
    # Until a client that does not read is closed
    SEND_TIMEOUT: float = 10
    # Until a socket is asked to reconnect
    MAX_AGE: float = 14_400
    # Until the server closes the connection of a peer that does not answer a ping
    PEER_TIMEOUT: float = 40


@cache
def settings() -> RealtimeSettings:
    """Return the current settings.

    Raises:
        ImproperlyConfigured: REALTIME has an unknown key.
    """
    values = getattr(django_settings, "REALTIME", {})
    if unknown := values.keys() - RealtimeSettings.__dataclass_fields__.keys():
        known = ", ".join(RealtimeSettings.__dataclass_fields__)
        raise ImproperlyConfigured(
            f"REALTIME has unknown settings: {', '.join(sorted(unknown))}. Known are: {known}."
        )
    return RealtimeSettings(**values)


@receiver(setting_changed)
def reload(*, setting: str, **kwargs: object) -> None:
    """Read the settings anew after override_settings()."""
    if setting == "REALTIME":
        settings.cache_clear()
