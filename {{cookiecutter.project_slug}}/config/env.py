"""The environment, read and checked once. No other module reads it.

`.env.example` describes each variable. Any of them may be given as `NAME_FILE`, the path of a file
that holds the value, as Docker provides secrets; relative paths are relative to the project folder.

Raises:
    ImproperlyConfigured: on import; the message has one line for each invalid variable.
"""

import os
import shlex
import tempfile
from collections.abc import Mapping
from contextlib import chdir
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import cast

import dj_email_url
from django.core.exceptions import ImproperlyConfigured
from environs import EnvValidationError, FileAwareEnv, ValidationError
from environs import validate as check

BASE_DIR = Path(__file__).resolve().parent.parent
PROJECT_SLUG = "{{ cookiecutter.project_slug }}"


class Env(FileAwareEnv):
    """Reads `NAME`, or else the file that `NAME_FILE` names.

    environs prefers the file, resolves it against the working directory, and raises for an
    unreadable one at once, without the other problems: https://github.com/sloria/environs/pull/424
    """

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.unreadable: dict[str, str] = {}

    def _get_value(self, env_key: str, default: object) -> object:
        if env_key in os.environ:
            return os.environ[env_key]
        try:
            with chdir(BASE_DIR):
                return super()._get_value(env_key, default)
        except UnicodeDecodeError:
            self.unreadable[env_key] = f"The file that {env_key}_FILE names is not UTF-8 text."
        except ValueError as error:
            self.unreadable[env_key] = str(error)
        return default

    def problems(self) -> list[str]:
        """Return a line for each invalid variable, and reject further reads."""
        try:
            self.seal()
        except EnvValidationError as error:
            messages = cast(Mapping[str, list[str]], error.error_messages)
            invalid = {name: " ".join(why) for name, why in messages.items()}
        else:
            invalid = {}
        return [f"{name}: {why}" for name, why in (invalid | self.unreadable).items()]


env = Env(eager=False, strip_whitespace=True)
# Compose passes the lines of .env as variables; a container may be unable to read the file itself.
if os.access(BASE_DIR / ".env", os.R_OK):
    env.read_env(BASE_DIR / ".env")

at_least_0 = check.Range(min=0)
at_least_1 = check.Range(min=1)
at_least_1_character = check.Length(min=1)


@env.parser_for("commas")
def commas(text: str) -> list[str]:
    """Split at commas, and strip the items."""
    return [item.strip() for item in text.split(",") if item.strip()]


@env.parser_for("networks")
def networks(text: str) -> list[str]:
    """Split at commas. Raises ValidationError unless each item is an address or a network."""
    try:
        return [item for item in commas(text) if ip_network(item)]
    except ValueError as error:
        raise ValidationError(f"{error}.") from None


@env.parser_for("words")
def words(text: str) -> list[str]:
    """Split as a shell does. Raises ValidationError if a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValidationError(f"{error}.") from None


@env.parser_for("mail")
def mail(url: str) -> dict[str, object]:
    """Return Django's settings for mail. Raises ValidationError if the URL is invalid."""
    try:
        settings = dj_email_url.parse(url)
    except ValueError:  # whose message may have a part of the password
        raise ValidationError("Not a URL for mail.") from None
    if "EMAIL_BACKEND" not in settings:
        raise ValidationError(f"Unknown scheme. Use one of {', '.join(dj_email_url.SCHEMES)}.")
    return settings


# The site
DEBUG = env.bool("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", validate=at_least_1_character)
ALLOWED_HOSTS = env.commas("ALLOWED_HOSTS", "")
CSRF_TRUSTED_ORIGINS = env.commas("CSRF_TRUSTED_ORIGINS", "")
HTTPS_ONLY = env.bool("HTTPS_ONLY", False)
HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000, validate=at_least_0)
DATABASE_URL = env.dj_db_url("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
REDIS_URL = env.str("REDIS_URL", "")
REDIS_PREFIX = env.str("REDIS_PREFIX", PROJECT_SLUG, validate=at_least_1_character)
EMAIL_URL = env.mail("EMAIL_URL", "console://" if DEBUG else "dummy://")

# The processes
ROOT_PATH = env.str(
    "ROOT_PATH",
    "",
    validate=check.Regexp(r"(/[\w.~-]+)*$", error="Must be empty or a path such as /chat."),
)
BIND = env.str(
    "BIND",
    "127.0.0.1:8000" if DEBUG else "0.0.0.0:8000",
    validate=check.Regexp(r"unix:/.+|.+:\d+$", error="Must be host:port or unix:/path."),
)
WEB_CONCURRENCY = env.int("WEB_CONCURRENCY", 1, validate=at_least_1)
{% if cookiecutter.topology == "split" %}
WEB_THREADS = env.int("WEB_THREADS", 8, validate=at_least_1)
{% endif %}
MAX_CONNECTIONS = env.int("MAX_CONNECTIONS", 10_000, validate=at_least_1)
MAX_REQUESTS = env.int("MAX_REQUESTS", 0, validate=at_least_0)
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES", "127.0.0.1,::1")

{% include "database/" ~ cookiecutter.database ~ "/env.py" %}
# Times, in seconds
REQUEST_TIMEOUT = env.int("REQUEST_TIMEOUT", 60, validate=at_least_1)
# More than the 2 s after which nginx closes its idle connections to the server.
KEEPALIVE_TIMEOUT = env.int("KEEPALIVE_TIMEOUT", 75, validate=check.Range(min=3))
PROXY_READ_TIMEOUT = env.int("PROXY_READ_TIMEOUT", 75, validate=at_least_1)
DRAIN_SECONDS = env.int("DRAIN_SECONDS", 10, validate=at_least_0)
STOP_GRACE_SECONDS = env.int("STOP_GRACE_SECONDS", 75, validate=at_least_1)

# Directory of the control sockets. A short path: a Unix socket's has at most 104 bytes on macOS.
CONTROL_DIR = Path(
    tempfile.gettempdir(), f"serve-{sha256(str(BASE_DIR).encode()).hexdigest()[:12]}"
)

# Sizes, in bytes
MAX_BODY_BYTES = env.int("MAX_BODY_BYTES", 10 * 1024**2, validate=at_least_1)

# WebSockets
WS_ALLOWED_ORIGINS = env.commas("WS_ALLOWED_ORIGINS", "")
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

# Options for the server, appended to its command line
SERVER_ARGS = env.words("SERVER_ARGS", "")

if problems := env.problems():
    raise ImproperlyConfigured("\n".join(problems))


{% include "database/" ~ cookiecutter.database ~ "/processes.py" %}
def conflicts() -> list[str]:
    """Return an error message for each conflict between variables."""
    rules = [
        (
            DEBUG or ALLOWED_HOSTS,
            "ALLOWED_HOSTS is empty: every request would be refused. Set it to the site's host"
            " names, or set DEBUG=true for development.",
        ),
        (
            WS_PING_INTERVAL + WS_PING_TIMEOUT < PROXY_READ_TIMEOUT,
            f"WS_PING_INTERVAL + WS_PING_TIMEOUT ({WS_PING_INTERVAL} + {WS_PING_TIMEOUT} s) must"
            f" be less than PROXY_READ_TIMEOUT ({PROXY_READ_TIMEOUT} s), or the proxy closes idle"
            " WebSockets.",
        ),
        (
            DRAIN_SECONDS + REQUEST_TIMEOUT < STOP_GRACE_SECONDS,
            f"DRAIN_SECONDS + REQUEST_TIMEOUT ({DRAIN_SECONDS} + {REQUEST_TIMEOUT} s) must be less"
            f" than STOP_GRACE_SECONDS ({STOP_GRACE_SECONDS} s), or a deploy aborts open"
            " WebSockets and requests.",
        ),
        (
            REDIS_URL or WEB_CONCURRENCY == 1,
            f"WEB_CONCURRENCY is {WEB_CONCURRENCY} and REDIS_URL is empty: without Redis,"
            " messages do not leave their process. Set REDIS_URL, or WEB_CONCURRENCY=1.",
        ),
{% include "database/" ~ cookiecutter.database ~ "/rule.py" %}
    ]
    return [sentence for holds, sentence in rules if not holds]
