"""The contract: one environment, read and checked here, once, and nowhere else.

`.env.example` tells what each variable is for. Each may be given as `NAME_FILE`, the path of a file
that holds the value, as secrets are; a relative one begins at this project's folder. A value that
cannot be read ends the process with a line that names its variable.
"""

import os
import shlex
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from ipaddress import ip_network
from pathlib import Path

from environs import EnvValidationError, FileAwareEnv
from environs import validate as check

BASE_DIR = Path(__file__).resolve().parent.parent


class Env(FileAwareEnv):
    """The environment, where `NAME` counts for more than `NAME_FILE`."""

    def _get_value(self, name: str, default: object) -> object:
        if name in os.environ:
            return os.environ[name]
        try:
            with chdir(BASE_DIR):
                return super()._get_value(name, default)
        except ValueError as error:
            sys.exit(str(error))


env = Env(eager=False, strip_whitespace=True)
# Containers have its lines in their environment, and may not be allowed to read the file.
if os.access(BASE_DIR / ".env", os.R_OK):
    env.read_env(BASE_DIR / ".env")

at_least_0 = check.Range(min=0)
at_least_1 = check.Range(min=1)


def commas(text: str) -> list[str]:
    """Split at commas; blanks around the items do not count."""
    return [item.strip() for item in text.split(",") if item.strip()]


def networks(text: str) -> list[str]:
    """Split at commas. Raises ValueError if an item is neither an address nor a network."""
    return [item for item in commas(text) if ip_network(item)]


def parse(name: str, read: Callable[[str], list[str]], default: str = "") -> list[str]:
    """Read a variable with a function that raises ValueError where it cannot."""
    try:
        return read(env.str(name, default))
    except ValueError as error:
        sys.exit(f"{name}: {error}.")


# The site
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", validate=check.Length(min=1))
ALLOWED_HOSTS = parse("ALLOWED_HOSTS", commas)
CSRF_TRUSTED_ORIGINS = parse("CSRF_TRUSTED_ORIGINS", commas)
HTTPS_ONLY = env.bool("HTTPS_ONLY", False)
HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000, validate=at_least_0)
DATABASE_URL = env.dj_db_url("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
REDIS_URL = env.str("REDIS_URL", "")
EMAIL_URL = env.dj_email_url("EMAIL_URL", "consolemail://" if DEBUG else "dummymail://")

# The processes
ROOT_PATH = env.str(
    "ROOT_PATH",
    "",
    validate=check.Regexp(r"(/[\w.~-]+)*$", error="Not a path such as /chat, or nothing."),
)
BIND = env.str(
    "BIND",
    "127.0.0.1:8000" if DEBUG else "0.0.0.0:8000",
    validate=check.Regexp(r"unix:/.+|.+:\d+$", error="Not host:port or unix:/path."),
)
WEB_CONCURRENCY = env.int("WEB_CONCURRENCY", 1, validate=at_least_1)
{% if cookiecutter.topology == "split" %}
WEB_THREADS = env.int("WEB_THREADS", 8, validate=at_least_1)
{% endif %}
MAX_CONNECTIONS = env.int("MAX_CONNECTIONS", 10_000, validate=at_least_1)
MAX_REQUESTS = env.int("MAX_REQUESTS", 0, validate=at_least_0)
TRUSTED_PROXIES = parse("TRUSTED_PROXIES", networks, "127.0.0.1,::1")

{% include "database/" ~ cookiecutter.database ~ "/contract.py" ignore missing %}
# Times, in seconds
REQUEST_TIMEOUT = env.int("REQUEST_TIMEOUT", 60, validate=at_least_1)
KEEPALIVE_TIMEOUT = env.int("KEEPALIVE_TIMEOUT", 75, validate=check.Range(min=3))  # nginx: 2
PROXY_READ_TIMEOUT = env.int("PROXY_READ_TIMEOUT", 75, validate=at_least_1)
DRAIN_SECONDS = env.int("DRAIN_SECONDS", 10, validate=at_least_0)
STOP_GRACE_SECONDS = env.int("STOP_GRACE_SECONDS", 75, validate=at_least_1)

# `manage.py drain` makes it, for the processes of this machine or container.
DRAIN_FILE = Path(tempfile.gettempdir()) / f"{BASE_DIR.name}.drain"

# Sizes, in bytes
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 10 * 1024**2, validate=at_least_1)

# WebSockets
WS_ALLOWED_ORIGINS = parse("WS_ALLOWED_ORIGINS", commas)
WS_MAX_MESSAGE_BYTES = env.int("WS_MAX_MESSAGE_BYTES", 1024**2, validate=at_least_1)
WS_PING_INTERVAL = env.int("WS_PING_INTERVAL", 20, validate=at_least_1)
WS_PING_TIMEOUT = env.int("WS_PING_TIMEOUT", 20, validate=at_least_1)
WS_SEND_TIMEOUT = env.int("WS_SEND_TIMEOUT", 10, validate=at_least_1)
WS_MAX_AGE = env.int("WS_MAX_AGE", 14_400, validate=at_least_1)
WS_MESSAGE_RATE = env.int("WS_MESSAGE_RATE", 50, validate=at_least_1)
WS_PER_USER = env.int("WS_PER_USER", 50, validate=at_least_1)
WS_TICKET_SECONDS = env.int("WS_TICKET_SECONDS", 30, validate=at_least_1)

# Streams
HISTORY_LENGTH = env.int("HISTORY_LENGTH", 1000, validate=at_least_1)
HISTORY_SECONDS = env.int("HISTORY_SECONDS", 600, validate=check.Range(min=30))

# Logs
LOG_LEVEL = env.str(
    "LOG_LEVEL", "INFO", validate=check.OneOf(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
)
LOG_FORMAT = env.str(
    "LOG_FORMAT", "console" if DEBUG else "json", validate=check.OneOf(["json", "console"])
)

# Passed through to the server as they are
SERVER_ARGS = parse("SERVER_ARGS", shlex.split)

try:
    env.seal()
except EnvValidationError as error:
    sys.exit("\n".join(f"{name}: {' '.join(why)}" for name, why in error.error_messages.items()))
{% include "database/" ~ cookiecutter.database ~ "/processes.py" ignore missing %}


def conflicts() -> list[str]:
    """Return a sentence for each rule that the variables break together."""
    rules = [
        (
            DEBUG or ALLOWED_HOSTS,
            "ALLOWED_HOSTS is empty: no page would be served. Name the site's hosts, or, on a"
            " machine for development, set DEBUG=true.",
        ),
        (
            WS_PING_INTERVAL + WS_PING_TIMEOUT < PROXY_READ_TIMEOUT,
            f"WS_PING_INTERVAL + WS_PING_TIMEOUT ({WS_PING_INTERVAL} + {WS_PING_TIMEOUT} s) must"
            f" be less than PROXY_READ_TIMEOUT ({PROXY_READ_TIMEOUT} s), or the proxy cuts"
            " sockets that are only quiet.",
        ),
        (
            DRAIN_SECONDS + REQUEST_TIMEOUT < STOP_GRACE_SECONDS,
            f"DRAIN_SECONDS + REQUEST_TIMEOUT ({DRAIN_SECONDS} + {REQUEST_TIMEOUT} s) must be less"
            f" than STOP_GRACE_SECONDS ({STOP_GRACE_SECONDS} s), or a deploy kills sockets and"
            " requests that are still under way.",
        ),
        (
            REDIS_URL or WEB_CONCURRENCY == 1,
            f"WEB_CONCURRENCY is {WEB_CONCURRENCY} and REDIS_URL is empty: without Redis,"
            " messages do not leave their process. Set REDIS_URL, or WEB_CONCURRENCY=1.",
        ),
{% include "database/" ~ cookiecutter.database ~ "/rule.py" ignore missing %}
    ]
    return [sentence for holds, sentence in rules if not holds]
