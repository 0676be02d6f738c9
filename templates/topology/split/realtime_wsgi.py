"""For pages over WSGI, what the other modules do over ASGI: see there for why."""

import asyncio
import json
import time
from http import HTTPStatus
from threading import Lock

from config import contract
from realtime.health import readiness
from realtime.leaving import RETRY_AFTER
from realtime.proxy import PLAIN, SECURE, last_stranger, trusted
from realtime.request_id import request_id

# What the server (serve/web_worker.py) says of itself, in the environ.
DRAINING = "serve.draining"  # whether this process is on its way out
FULL = "serve.full"  # whether it has no time for this request


class Proxy:
    """WSGI middleware that believes X-Forwarded-For and X-Forwarded-Proto of TRUSTED_PROXIES.

    Args:
        application: the WSGI application behind the proxy.
        root_path: the prefix of all its URLs, without a slash at the end.
    """

    def __init__(self, application, root_path: str = contract.ROOT_PATH) -> None:
        self.application = application
        self.root_path = root_path.encode().decode("latin-1")  # as WSGI has all text

    def __call__(self, environ, start_response):
        environ["wsgi.url_scheme"] = PLAIN["http"]  # whatever the server has made of the headers
        environ["SCRIPT_NAME"] = self.root_path
        if environ["PATH_INFO"].startswith(f"{self.root_path}/"):
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(self.root_path)
        peer = environ.get("REMOTE_ADDR")  # a Unix socket has none
        if not peer or trusted(peer):
            believe(environ)
        return self.application(environ, start_response)


def believe(environ) -> None:
    """Take the client's address and the scheme from the headers, where they make sense."""
    if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
        environ["wsgi.url_scheme"] = SECURE["http"]
    if client := last_stranger(environ.get("HTTP_X_FORWARDED_FOR", "")):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client, "0"


class Health:
    """WSGI middleware: /livez and /readyz, before Django looks at the Host header."""

    def __init__(self, application) -> None:
        self.application = application
        self.asking = Lock()
        self.known: tuple[int, dict[str, bool]] = (503, {})
        self.known_until = 0.0

    def readiness(self) -> tuple[int, dict[str, bool]]:
        """Ask once a second, for all who want to know: anybody may, and be many."""
        with self.asking:
            if time.monotonic() > self.known_until:
                self.known = asyncio.run(readiness())
                self.known_until = time.monotonic() + 1
            return self.known

    def __call__(self, environ, start_response):
        match environ["PATH_INFO"]:
            case "/livez":
                return respond(start_response, 200, {"live": True})
            case "/readyz" if environ.get(DRAINING) or contract.DRAIN_FILE.exists():
                return respond(start_response, 503, {"draining": True, "sockets": 0})
            case "/readyz":
                return respond(start_response, *self.readiness())
            case _:
                return self.application(environ, start_response)


class RequestId:
    """WSGI middleware that remembers X-Request-ID, for all that is logged for a request."""

    def __init__(self, application) -> None:
        self.application = application

    def __call__(self, environ, start_response):
        # Without one, too: the thread has served other requests.
        request_id.set(environ.get("HTTP_X_REQUEST_ID", ""))
        return self.application(environ, start_response)


class Limit:
    """WSGI middleware that answers 503 where the server says that there is no time."""

    def __init__(self, application) -> None:
        self.application = application

    def __call__(self, environ, start_response):
        if environ.get(FULL):
            later = ("Retry-After", RETRY_AFTER.decode())
            start_response(line(503), [later, ("Content-Length", "0")])
            return []
        return self.application(environ, start_response)


def line(status: int) -> str:
    """Return a status as WSGI has it, with its name."""
    return f"{status} {HTTPStatus(status).phrase}"


def respond(start_response, status: int, body: dict) -> list[bytes]:
    """Send a small JSON response that nobody may cache."""
    payload = json.dumps(body).encode()
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    headers.append(("Content-Length", str(len(payload))))
    start_response(line(status), headers)
    return [payload]
