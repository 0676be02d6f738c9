"""Tickets: WebSockets of non-browser clients."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from redis.exceptions import ConnectionError as NoRedis

from realtime import conf
from realtime.brokers import broker, memory
from realtime.protocol import CloseCode
from realtime.tickets import aissue
from tests.test_revocation import change_password, deactivate, delete, ended
from tests.websockets import connect

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_tickets(monkeypatch):
    monkeypatch.setattr(memory, "tickets", {})


async def ticket_of(client: Client) -> str:
    """Return a ticket from the endpoint."""
    answer = await sync_to_async(client.post)("/accounts/ticket/")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert answer.json()["seconds"] == conf.settings().TICKET_SECONDS
    return answer.json()["ticket"]


def by(ticket: str, **options):
    """Open a socket to the lobby with a ticket and no Origin, as a non-browser client does."""
    options = {"origin": None, "authorization": f"Ticket {ticket}"} | options
    return connect("/ws/lobby/", **options)


async def refused(ticket: str, **options) -> bool:
    """Return whether the handshake is refused with 403."""
    async with by(ticket, **options) as socket:
        return await socket.receive() == {"type": "websocket.close"}


async def test_ticket_opens_one_socket(ada):
    """A ticket opens one socket, as the user who requested it."""
    ticket = await ticket_of(ada)
    async with by(ticket) as socket:
        await socket.accepted()
        assert (await socket.receive_type("welcome"))["you"] == "ada"
    assert await refused(ticket)


async def test_invalid_ticket(ada):
    """An invalid ticket is refused, even with valid cookies and a valid Origin."""
    for ticket in ("", "guessed", "\xff"):
        assert await refused(ticket, client=ada, origin="http://testserver")


async def test_ticket_precedes_cookies(ada):
    """A ticket takes precedence over cookies and is accepted from any origin."""
    bob = Client()
    await sync_to_async(bob.force_login)(await User.objects.acreate_user("bob"))
    async with by(await ticket_of(bob), client=ada, origin="https://app.example") as socket:
        await socket.accepted()
        assert (await socket.receive_type("welcome"))["you"] == "bob"


@pytest.mark.parametrize("authorization", ["Basic YWRhOmFkYQ==", "Tickets x", "Ticket"])
async def test_other_authorization(ada, authorization):
    """An Authorization header without a ticket is ignored; the Origin is checked."""
    async with connect("/ws/echo/", authorization=authorization) as socket:
        await socket.accepted()
    async with connect("/ws/echo/", authorization=authorization, origin=None) as socket:
        assert (await socket.receive())["type"] == "websocket.close"


async def test_ticket_expiry(ada, realtime):
    """A ticket expires after WS_TICKET_SECONDS, and is then deleted."""
    realtime(TICKET_SECONDS=0)
    assert await refused(await ticket_of(ada))
    await ticket_of(ada)
    realtime(TICKET_SECONDS=30)
    await ticket_of(ada)
    assert len(memory.tickets) == 1  # expired tickets are deleted


async def test_stored_ticket_is_useless(ada):
    """The stored entry contains neither the ticket nor the session key."""
    ticket = await ticket_of(ada)
    kept = str(memory.tickets)
    session = ada.cookies["sessionid"].value
    assert all(secret.encode().hex() not in kept for secret in (ticket, session))
    assert all(secret not in kept for secret in (ticket, session))


async def test_anonymous_ticket(client, db):
    """An anonymous user's request for a ticket is answered with 401 in JSON."""
    answer = await sync_to_async(client.post)("/accounts/ticket/")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/json")


async def test_cross_site_ticket(ada):
    """A page of another site gets no ticket: POST needs a CSRF token, GET is not allowed."""
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ada.cookies
    assert (await sync_to_async(strict.post)("/accounts/ticket/")).status_code == 403
    assert (await sync_to_async(strict.get)("/accounts/ticket/")).status_code == 405


@pytest.mark.parametrize("change", [change_password, deactivate, delete])
async def test_account_change(ada, change):
    """A changed password, deactivation or deletion revokes the user's tickets and sockets."""
    user = await User.objects.aget()
    by_session, by_account = await ticket_of(ada), await aissue(user)
    unused = await ticket_of(ada), await aissue(user)
    async with by(by_session) as first, by(by_account) as second:
        for socket in (first, second):
            await socket.follows()
        await sync_to_async(change)()
        for socket in (first, second):
            assert await ended(socket) == CloseCode.NOT_AUTHENTICATED
    for ticket in unused:
        assert await refused(ticket)


async def test_logout(ada):
    """Logging out revokes the tickets and sockets of that session only."""
    user = await User.objects.aget()
    phone = Client()
    await sync_to_async(phone.force_login)(user)
    unused = await ticket_of(ada)
    async with (
        by(await ticket_of(ada)) as here,
        by(await ticket_of(phone)) as there,
        by(await aissue(user)) as service,
    ):
        for socket in (here, there, service):
            await socket.follows()
        await sync_to_async(ada.post)("/accounts/logout/")
        assert await ended(here) == CloseCode.NOT_AUTHENTICATED
        for socket in (there, service):
            await socket.send('{"text": "still here"}')
            assert await socket.receive_type("message")
    assert await refused(unused)


async def test_unrelated_user_change(ada):
    """A changed first name closes no socket."""
    user = await User.objects.aget()
    async with by(await ticket_of(ada)) as first, by(await aissue(user)) as second:
        for socket in (first, second):
            await socket.follows()
        user.first_name = "Ada"
        await user.asave()
        for socket in (first, second):
            await socket.send('{"text": "still here"}')
            assert await socket.receive_type("message")


async def test_redis_outage(ada, monkeypatch):
    """Without Redis, ticket requests and handshakes with a ticket are answered with 503."""

    async def no_redis(*args):
        raise NoRedis("gone")

    def no_redis_either(*args):
        raise NoRedis("gone")

    ticket = await ticket_of(ada)
    monkeypatch.setattr(broker().tickets, "pop", no_redis)
    async with by(ticket) as socket:
        socket.scope["extensions"] = {"websocket.http.response": {}}
        assert (await socket.receive())["status"] == 503
        assert (await socket.receive())["type"] == "websocket.http.response.body"
    monkeypatch.setattr(memory.MemoryBlockingBroker, "put_ticket", no_redis_either)
    answer = await sync_to_async(ada.post)("/accounts/ticket/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
