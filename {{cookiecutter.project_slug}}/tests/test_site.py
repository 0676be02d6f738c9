"""Pages, log-in, errors and health checks."""

import asyncio
import json
import logging
import re

import pytest
from asgiref.testing import ApplicationCommunicator
from axes.helpers import get_client_ip_address
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.test import Client

from config.asgi import application
from config.readiness import READINESS_CHECKS
from serve import health
from tests.websockets import PATIENCE


async def get(path: str) -> tuple[int, dict]:
    """Return the status and JSON of a request without a Host, as load balancers send it."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    request = ApplicationCommunicator(application, scope)
    await request.send_input({"type": "http.request"})
    start, end = [await request.receive_output(PATIENCE) for _ in range(2)]
    return start["status"], json.loads(end["body"])


async def test_livez():
    """/livez answers 200."""
    assert await get("/livez") == (200, {"live": True})


async def test_readyz(transactional_db):
    """/readyz checks the database."""
    assert await get("/readyz") == (200, {"database": True})


async def test_readyz_unreachable_service(monkeypatch, transactional_db):
    """/readyz answers 503 and names the unreachable service."""

    async def refuse():
        raise ConnectionRefusedError

    monkeypatch.setitem(READINESS_CHECKS, "redis", refuse)
    assert await get("/readyz") == (503, {"database": True, "redis": False})


async def test_readyz_timeout(monkeypatch, transactional_db):
    """/readyz answers 503 when a check times out."""

    async def hang():
        await asyncio.sleep(60)

    monkeypatch.setattr(health, "CHECK_TIMEOUT", 0.5)
    monkeypatch.setitem(READINESS_CHECKS, "redis", hang)
    assert await get("/readyz") == (503, {"database": True, "redis": False})


async def test_readyz_shared_check(monkeypatch):
    """Concurrent requests to /readyz share one check."""
    asked = []

    async def ask() -> None:
        asked.append("")
        await asyncio.sleep(0.1)

    monkeypatch.setitem(READINESS_CHECKS, "database", ask)
    answers = await asyncio.gather(*(get("/readyz") for _ in range(100)))
    assert answers == [(200, {"database": True})] * 100
    assert len(asked) == 1


def test_home_page(client, settings):
    """The home page needs no log-in."""
    page = client.get("/")
    assert page.status_code == 200
    assert page.context["project_name"] == settings.PROJECT_NAME


def test_language(ada, settings):
    """The language of a page, an error page among them, follows the settings."""
    for path, language in [("/", "en"), ("/rooms/lobby/", "de"), ("/missing/", "ar")]:
        settings.LANGUAGE_CODE = language
        page = ada.get(path).content.decode()
        assert re.search(
            rf'<html lang="{language}"\s+dir="{"rtl" if language == "ar" else "ltr"}"', page
        )


def test_login_and_logout(client, db):
    """Logging in and logging out redirect to the home page."""
    User.objects.create_user("ada", password="correct horse")
    answer = {"username": "ada", "password": "correct horse"}
    assert client.post("/accounts/login/", answer).url == "/"
    assert client.post("/accounts/logout/").url == "/"


def test_login_throttling(client, db):
    """Five wrong passwords block log-ins from that address; other addresses may log in."""
    User.objects.create_user("ada", password="correct horse")
    right, wrong = ({"username": "ada", "password": word} for word in ("correct horse", "wrong"))
    statuses = [client.post("/accounts/login/", wrong).status_code for _ in range(5)]
    assert statuses == [200] * 4 + [429]
    for page in ("/accounts/login/", "/admin/login/"):
        answer = client.post(page, right)
        assert answer.status_code == 429
        assert b"Too many login attempts" in answer.content
    elsewhere = Client(REMOTE_ADDR="192.0.2.1")
    assert elsewhere.post("/accounts/login/", right).status_code == 302


@pytest.mark.parametrize(
    ("address", "known_as"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("::ffff:203.0.113.7", "::ffff:203.0.113.7"),
        ("", None),
    ],
)
def test_login_throttling_key(rf, address, known_as):
    """Log-ins are throttled by IPv4 address or IPv6 /64."""
    assert get_client_ip_address(rf.get("/", REMOTE_ADDR=address)) == known_as


def test_security_headers(client):
    """Pages allow content from their own origin only, and may not be framed."""
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_whoami(client, ada):
    """/whoami/ is for staff only."""
    assert client.get("/whoami/").status_code == 403
    assert ada.get("/whoami/").status_code == 403
    User.objects.update(is_staff=True)
    assert ada.get("/whoami/").json()["server"]["name"]


def test_access_denied(client, monkeypatch):
    """The 403 page shows the reason that a view gives."""

    class Reason(PermissionDenied):
        def __str__(self) -> str:
            return "Only for staff."

    monkeypatch.setattr("config.views.PermissionDenied", Reason)
    page = client.get("/whoami/")
    assert (page.status_code, b"Only for staff." in page.content) == (403, True)


def test_error_mail(client, monkeypatch, mailoutbox, settings):
    """An unhandled exception is mailed to the admins."""
    monkeypatch.setattr("config.views.PermissionDenied", ZeroDivisionError)
    client.raise_request_exception = False
    assert client.get("/whoami/").status_code == 500
    (mail,) = mailoutbox
    assert "ZeroDivisionError" in mail.subject + mail.body
    assert mail.to == [settings.SERVER_EMAIL]


@pytest.mark.parametrize("path", ["/accounts/login/", "/missing/", "/whoami/"])
@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("application/x-www-form-urlencoded; charset=utf-7", "a=b"),
        ("application/x-www-form-urlencoded", "&".join(f"a{n}=" for n in range(2000))),
        ("multipart/form-data", "no boundary"),
    ],
)
def test_malformed_form(db, path, kind, form):
    """A malformed form is answered with 400, or with 404 if the path is unknown."""
    browser = Client(enforce_csrf_checks=True)
    browser.get("/accounts/login/")  # sets the CSRF cookie; forms are not parsed without it
    answer = browser.post(path, form, content_type=kind)
    assert answer.status_code == (404 if path == "/missing/" else 400)


@pytest.mark.parametrize("query", ["a=1&" * 2000, "a=%00"])
async def test_malformed_query(query):
    """A malformed query string causes no server error."""
    headers = [(b"host", b"testserver"), (b"content-type", b"text/plain; charset=idna")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    request = ApplicationCommunicator(application, scope | {"query_string": query.encode()})
    await request.send_input({"type": "http.request"})
    start, _ = [await request.receive_output(PATIENCE) for _ in range(2)]
    await request.wait(PATIENCE)
    assert start["status"] < 500


def test_disallowed_host_log(caplog, mailoutbox):
    """A request for a disallowed host is logged as a warning and not mailed."""
    for name in ("django.security.DisallowedHost", "django.request"):
        logging.getLogger(name).error("by %s", name)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert [mail.subject for mail in mailoutbox] == ["[Django] ERROR: by django.request"]
