"""Sockets of clients that are no browser."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from redis.exceptions import ConnectionError as NoRedis

from config import contract
from realtime import tickets
from realtime.brokers import memory
from realtime.consumers import CloseCode
from realtime.hub import hub
from realtime.tickets import aissue
from tests.sockets import connect
from tests.test_users import change_password, deactivate, delete, ended

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_tickets(monkeypatch):
    monkeypatch.setattr(memory, "values", {})


async def ticket_of(client: Client) -> str:
    """Return a ticket, got as a client gets one."""
    answer = await sync_to_async(client.post)("/accounts/ticket/")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert answer.json()["seconds"] == contract.WS_TICKET_SECONDS
    return answer.json()["ticket"]


def by(ticket: str, **options):
    """Open a socket to the lobby as a client that is no browser does."""
    options = {"origin": None, "authorization": f"Ticket {ticket}"} | options
    return connect("/ws/lobby/", **options)


async def refused(ticket: str, **options) -> bool:
    """Whether the handshake is refused with 403."""
    async with by(ticket, **options) as socket:
        return await socket.receive() == {"type": "websocket.close"}


async def test_a_ticket_opens_one_socket_in_the_name_of_who_got_it(ada):
    ticket = await ticket_of(ada)
    async with by(ticket) as socket:
        await socket.accepted()
        assert (await socket.hear("welcome"))["you"] == "ada"
    assert await refused(ticket)


async def test_neither_cookies_nor_an_origin_help_who_has_no_valid_ticket(ada):
    for ticket in ("", "guessed", "\xff"):
        assert await refused(ticket, client=ada, origin="http://testserver")


async def test_a_ticket_counts_for_more_than_cookies_and_from_any_origin(ada):
    bob = Client()
    await sync_to_async(bob.force_login)(await User.objects.acreate_user("bob"))
    async with by(await ticket_of(bob), client=ada, origin="https://app.example") as socket:
        await socket.accepted()
        assert (await socket.hear("welcome"))["you"] == "bob"


@pytest.mark.parametrize("authorization", ["Basic YWRhOmFkYQ==", "Tickets x", "Ticket"])
async def test_another_authorization_is_no_ticket(ada, authorization):
    async with connect("/ws/echo/", authorization=authorization) as socket:
        await socket.accepted()
    async with connect("/ws/echo/", authorization=authorization, origin=None) as socket:
        assert (await socket.receive())["type"] == "websocket.close"


async def test_a_ticket_expires(ada, monkeypatch):
    monkeypatch.setattr(contract, "WS_TICKET_SECONDS", 0)
    assert await refused(await ticket_of(ada))
    await ticket_of(ada)
    monkeypatch.setattr(contract, "WS_TICKET_SECONDS", 30)
    await ticket_of(ada)
    assert len(memory.values) == 1  # what has expired is not kept


async def test_what_is_kept_of_a_ticket_opens_nothing(ada):
    ticket = await ticket_of(ada)
    kept = str(memory.values)
    session = ada.cookies["sessionid"].value
    assert all(secret.encode().hex() not in kept for secret in (ticket, session))
    assert all(secret not in kept for secret in (ticket, session))


async def test_a_stranger_gets_no_ticket_but_an_answer_in_json(client, db):
    answer = await sync_to_async(client.post)("/accounts/ticket/")
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/json")


async def test_a_page_of_another_site_gets_no_ticket(ada):
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = ada.cookies
    assert (await sync_to_async(strict.post)("/accounts/ticket/")).status_code == 403
    assert (await sync_to_async(strict.get)("/accounts/ticket/")).status_code == 405


@pytest.mark.parametrize("change", [change_password, deactivate, delete])
async def test_who_may_not_log_in_any_more_loses_ticket_and_sockets(ada, change):
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


async def test_a_log_out_ends_what_that_session_got_and_nothing_else(ada):
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
            assert await socket.hear("message")
    assert await refused(unused)


async def test_another_name_closes_nothing(ada):
    user = await User.objects.aget()
    async with by(await ticket_of(ada)) as first, by(await aissue(user)) as second:
        for socket in (first, second):
            await socket.follows()
        user.first_name = "Ada"
        await user.asave()
        for socket in (first, second):
            await socket.send('{"text": "still here"}')
            assert await socket.hear("message")


async def test_without_redis_there_is_no_ticket_and_no_socket_but_an_answer(ada, monkeypatch):
    async def no_redis(*args):
        raise NoRedis("gone")

    def no_redis_either(*args):
        raise NoRedis("gone")

    ticket = await ticket_of(ada)
    monkeypatch.setattr(hub().broker, "take", no_redis)
    async with by(ticket) as socket:
        socket.scope["extensions"] = {"websocket.http.response": {}}
        assert (await socket.receive())["status"] == 503
        assert (await socket.receive())["type"] == "websocket.http.response.body"
    monkeypatch.setattr(tickets, "keep", no_redis_either)
    answer = await sync_to_async(ada.post)("/accounts/ticket/")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
