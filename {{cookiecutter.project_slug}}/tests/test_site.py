"""Pages and health."""

import asyncio
import json
import logging

import pytest
from asgiref.testing import ApplicationCommunicator
from axes.helpers import get_client_ip_address
from django.contrib.auth.models import User
from django.test import Client

from config.asgi import application
from realtime import health
from tests.sockets import PATIENCE


async def get(path: str) -> tuple[int, dict]:
    """Return status and JSON of a request without any Host, as balancers send them."""
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    request = ApplicationCommunicator(application, scope)
    await request.send_input({"type": "http.request"})
    start, end = [await request.receive_output(PATIENCE) for _ in range(2)]
    return start["status"], json.loads(end["body"])


async def test_livez_answers():
    assert await get("/livez") == (200, {"live": True})


async def test_readyz_asks_the_database(transactional_db):
    assert await get("/readyz") == (200, {"database": True})


async def test_readyz_fails_when_a_service_is_gone(monkeypatch, transactional_db):
    async def refuse():
        raise ConnectionRefusedError

    monkeypatch.setitem(health.CHECKS, "redis", refuse)
    assert await get("/readyz") == (503, {"database": True, "redis": False})


async def test_readyz_does_not_wait_for_ever(monkeypatch, transactional_db):
    async def hang():
        await asyncio.sleep(60)

    monkeypatch.setattr(health, "TIMEOUT", 0.5)
    monkeypatch.setitem(health.CHECKS, "redis", hang)
    assert await get("/readyz") == (503, {"database": True, "redis": False})


async def test_readyz_asks_once_for_all_who_want_to_know_at_the_same_time(monkeypatch):
    asked = []

    async def ask() -> None:
        asked.append("")
        await asyncio.sleep(0.1)

    monkeypatch.setattr(health, "CHECKS", {"database": ask})
    answers = await asyncio.gather(*(get("/readyz") for _ in range(100)))
    assert answers == [(200, {"database": True})] * 100
    assert len(asked) == 1


def test_the_first_page_needs_no_log_in(client, settings):
    page = client.get("/")
    assert page.status_code == 200
    assert page.context["project_name"] == settings.PROJECT_NAME


def test_logging_in_leads_home_and_logging_out_too(client, db):
    User.objects.create_user("ada", password="correct horse")
    answer = {"username": "ada", "password": "correct horse"}
    assert client.post("/accounts/login/", answer).url == "/"
    assert client.post("/accounts/logout/").url == "/"


def test_who_gets_a_password_wrong_too_often_waits_and_the_user_does_not_elsewhere(client, db):
    User.objects.create_user("ada", password="correct horse")
    right, wrong = ({"username": "ada", "password": word} for word in ("correct horse", "wrong"))
    statuses = [client.post("/accounts/login/", wrong).status_code for _ in range(5)]
    assert statuses == [200] * 4 + [429]
    for page in ("/accounts/login/", "/admin/login/"):
        answer = client.post(page, right)
        assert answer.status_code == 429
        assert b"Too many tries" in answer.content
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
def test_passwords_are_guessed_by_an_address_or_by_a_network_of_ipv6(rf, address, known_as):
    assert get_client_ip_address(rf.get("/", REMOTE_ADDR=address)) == known_as


def test_a_page_may_only_have_what_comes_from_this_site(client):
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy)
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_staff_alone_sees_whoami(client, ada):
    assert client.get("/whoami/").status_code == 403
    assert ada.get("/whoami/").status_code == 403
    User.objects.update(is_staff=True)
    assert ada.get("/whoami/").json()["server"]["name"]


def test_an_error_is_mailed_to_the_admins(client, monkeypatch, mailoutbox, settings):
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
def test_a_form_that_cannot_be_read_is_an_error_of_who_sent_it(db, path, kind, form):
    browser = Client(enforce_csrf_checks=True)
    browser.get("/accounts/login/")  # gets the cookie, without which no form is read
    answer = browser.post(path, form, content_type=kind)
    assert answer.status_code == (404 if path == "/missing/" else 400)


@pytest.mark.parametrize("query", ["a=1&" * 2000, "a=%00"])
async def test_a_query_that_cannot_be_read_is_no_error_of_ours(query):
    headers = [(b"host", b"testserver"), (b"content-type", b"text/plain; charset=idna")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    request = ApplicationCommunicator(application, scope | {"query_string": query.encode()})
    await request.send_input({"type": "http.request"})
    start, _ = [await request.receive_output(PATIENCE) for _ in range(2)]
    await request.wait(PATIENCE)
    assert start["status"] < 500


def test_what_a_stranger_does_wrong_is_a_warning_and_mailed_to_nobody(caplog, mailoutbox):
    for name in ("django.security.DisallowedHost", "django.request"):
        logging.getLogger(name).error("by %s", name)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert [mail.subject for mail in mailoutbox] == ["[Django] ERROR: by django.request"]
