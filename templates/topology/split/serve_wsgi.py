"""The middleware of this package for pages over WSGI. The ASGI modules give the reasons."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from threading import Lock
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from serve.forwarded import TrustedProxies
from serve.health import readiness
from serve.limits import RETRY_AFTER
from serve.request_id import request_id

# The state of the server process (serve/web_worker.py), in the environ.
DRAINING = "serve.draining"  # it is about to stop, or drained by hand
FULL = "serve.full"  # it has MAX_CONNECTIONS requests already


class ForwardedHeadersMiddleware:
    """Set the client and the scheme from X-Forwarded-For and X-Forwarded-Proto, and the root path.

    Args:
        app: the WSGI application behind the proxy.
        trusted_proxies: addresses and networks.
        root_path: the prefix of all its URLs, without a slash at the end.
    """

    def __init__(
        self, app: WSGIApplication, *, trusted_proxies: Iterable[str], root_path: str = ""
    ) -> None:
        self.app = app
        self.trusted_proxies = TrustedProxies(trusted_proxies)
        # PEP 3333 decodes all text as Latin-1.
        self.root_path = root_path.encode().decode("latin-1")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = "http"  # gunicorn may have set it from the headers
        environ["SCRIPT_NAME"] = self.root_path
        if environ["PATH_INFO"].startswith(f"{self.root_path}/"):
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(self.root_path)
        peer = environ.get("REMOTE_ADDR")  # empty for a Unix socket
        if not peer or peer in self.trusted_proxies:
            self.apply_headers(environ)
        return self.app(environ, start_response)

    def apply_headers(self, environ: WSGIEnvironment) -> None:
        """Set the client's address and the scheme from those headers that have valid values."""
        if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            environ["wsgi.url_scheme"] = "https"
        forwarded = environ.get("HTTP_X_FORWARDED_FOR", "")
        if client := self.trusted_proxies.rightmost_untrusted(forwarded):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client, "0"


class HealthMiddleware:
    """Answer /livez and /readyz, before Django checks the Host header.

    Args:
        app: the WSGI application for all other paths.
        checks: what /readyz checks; each raises an exception if it fails.
    """

    def __init__(
        self, app: WSGIApplication, *, checks: Mapping[str, Callable[[], Awaitable[None]]]
    ) -> None:
        self.app = app
        self.checks = checks
        self.lock = Lock()
        self.result: tuple[int, dict[str, bool]] = (503, {})
        self.valid_until = 0.0

    def readiness(self) -> tuple[int, dict[str, bool]]:
        """Run the checks once a second at most, however many requests any client may send."""
        with self.lock:
            if time.monotonic() > self.valid_until:
                self.result = asyncio.run(readiness(self.checks))
                self.valid_until = time.monotonic() + 1
            return self.result

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/livez":
                return respond(start_response, 200, {"live": True})
            case "/readyz" if environ.get(DRAINING):
                return respond(start_response, 503, {"draining": True, "sockets": 0})
            case "/readyz":
                return respond(start_response, *self.readiness())
            case _:
                return self.app(environ, start_response)


class RequestIdMiddleware:
    """Keep the X-Request-ID header, for all records that are logged for a request.

    Args:
        app: the WSGI application.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        # Without a header too: the thread still has the id of its last request.
        request_id.set(environ.get("HTTP_X_REQUEST_ID", ""))
        return self.app(environ, start_response)


class ConnectionLimitMiddleware:
    """Answer 503 where the server says that it has too many requests already.

    Args:
        app: the WSGI application.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self.app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get(FULL):
            retry_after = ("Retry-After", RETRY_AFTER.decode())
            start_response(status_line(503), [retry_after, ("Content-Length", "0")])
            return []
        return self.app(environ, start_response)


def status_line(status: int) -> str:
    """Return a status with its phrase, as WSGI has it."""
    return f"{status} {HTTPStatus(status).phrase}"


def respond(start_response: StartResponse, status: int, body: Mapping[str, object]) -> list[bytes]:
    """Send a small JSON response that is not cached."""
    payload = json.dumps(body).encode()
    headers = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
    headers.append(("Content-Length", str(len(payload))))
    start_response(status_line(status), headers)
    return [payload]
