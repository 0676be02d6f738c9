"""The settings of `serve`, from `SERVE` and a few others in Django's settings."""

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Where the server listens, how many processes it has, and what it accepts for how long."""

    # host:port or unix:/path.
    BIND: str = "127.0.0.1:8000"
    PROCESSES: int = 1
{% if cookiecutter.topology == "split" %}
    # For pages over WSGI, in each process.
    THREADS: int = 8
    # Requests for pages that a process has open at a time. Any further one is answered 503.
    MAX_CONNECTIONS: int = 10_000
    # Requests for pages after which a process is replaced. 0: never.
    MAX_REQUESTS: int = 0
    MAX_BODY_BYTES: int = 10 * 1024**2
    # The prefix of all URLs, without a slash at the end.
    ROOT_PATH: str = ""
{% endif %}
    # Seconds for a response, and for open requests when the server stops.
    REQUEST_TIMEOUT: int = 60
    # Seconds for which an idle HTTP connection is kept.
    KEEPALIVE_TIMEOUT: int = 75
    # Seconds from SIGTERM until a process is killed.
    STOP_GRACE_SECONDS: int = 75
    WS_MAX_MESSAGE_BYTES: int = 1024**2
    # Seconds between two pings, and for the pong.
    WS_PING_INTERVAL: int = 20
    WS_PING_TIMEOUT: int = 20
    LOG_LEVEL: str = "INFO"
    # Further options, at the end of the server's command line.
    SERVER_ARGS: list[str] = field(default_factory=list)
    # The folder that `--reload` watches.
    BASE_DIR: Path
    # The folder of the control sockets, one for each process (serve/control.py).
    CONTROL_DIR: Path
    # Contradictions in the settings, a sentence each. With any, nothing is started.
    CONFLICTS: list[str] = field(default_factory=list)
{% if cookiecutter.topology == "split" %}
    # The dotted path of an async function that returns whether a process may be replaced now.
    MAY_RECYCLE: str
{% endif %}

    # Django's own settings. Applications are named as servers name them: "config.asgi:application".
    ASGI_APPLICATION: str
{% if cookiecutter.topology == "split" %}
    WSGI_APPLICATION: str
{% endif %}
    DEBUG: bool


{% if cookiecutter.topology == "split" %}
DJANGO_SETTINGS = {"ASGI_APPLICATION", "WSGI_APPLICATION", "DEBUG"}
{% else %}
DJANGO_SETTINGS = {"ASGI_APPLICATION", "DEBUG"}
{% endif %}


@cache
def settings() -> ServeSettings:
    """Return the settings, which are read once in each process.

    Raises:
        ImproperlyConfigured: `SERVE` has an unknown key, or lacks one that has no default.
    """
    given: dict[str, Any] = django_settings.SERVE
    own = {item.name: item for item in fields(ServeSettings) if item.name not in DJANGO_SETTINGS}
    if unknown := sorted(given.keys() - own.keys()):
        raise ImproperlyConfigured(
            f"SERVE: unknown {', '.join(unknown)}. Known are {', '.join(own)}."
        )
    required = {
        name
        for name, item in own.items()
        if item.default is MISSING and item.default_factory is MISSING
    }
    if missing := sorted(required - given.keys()):
        raise ImproperlyConfigured(f"SERVE: {', '.join(missing)} is missing.")
    return ServeSettings(
        **given,
        ASGI_APPLICATION=target(django_settings.ASGI_APPLICATION),
{% if cookiecutter.topology == "split" %}
        WSGI_APPLICATION=target(django_settings.WSGI_APPLICATION),
{% endif %}
        DEBUG=django_settings.DEBUG,
    )


def target(dotted_path: str) -> str:
    """Return a dotted path as servers take it: "config.asgi:application"."""
    return ":".join(dotted_path.rsplit(".", 1))
