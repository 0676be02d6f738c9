"""Sockets of users who may not have them any more."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from realtime import users
from realtime.consumers import CloseCode
from realtime.seats import Seats
from tests.sockets import Socket, connect, until


def change_password() -> None:
    user = User.objects.get()
    user.set_password("another")
    user.save()


def deactivate() -> None:
    user = User.objects.get()
    user.is_active = False
    user.save()


def delete() -> None:
    User.objects.get().delete()


async def ended(socket: Socket) -> int:
    """Return the code that a socket is closed with; what comes before is passed over."""
    while (message := await socket.receive())["type"] != "websocket.close":
        pass
    return message["code"]


@pytest.mark.parametrize("change", [change_password, deactivate, delete])
async def test_a_user_who_may_not_log_in_any_more_loses_all_sockets(ada, change):
    async with (
        connect("/ws/lobby/", client=ada) as first,
        connect("/ws/lobby/", client=ada) as second,
    ):
        for socket in (first, second):
            await socket.follows()
        await sync_to_async(change)()
        for socket in (first, second):
            assert await ended(socket) == CloseCode.NOT_AUTHENTICATED


async def test_logging_out_closes_the_sockets_of_that_browser_and_no_others(ada):
    phone = Client()
    await sync_to_async(phone.force_login)(await User.objects.aget())
    async with (
        connect("/ws/lobby/", client=ada) as here,
        connect("/ws/lobby/", client=phone) as there,
    ):
        for socket in (here, there):
            await socket.follows()
        await sync_to_async(ada.post)("/accounts/logout/")
        assert await ended(here) == CloseCode.NOT_AUTHENTICATED
        await there.send('{"text": "still here"}')
        assert await there.hear("message")


async def test_a_socket_that_is_opened_amid_a_log_out_is_closed(ada, monkeypatch):
    take = Seats.take

    async def take_amid_log_out(seats: Seats, user: str) -> bool:
        await sync_to_async(ada.post)("/accounts/logout/")
        await until(lambda: user in users.watch().named)  # until this process has heard of it
        return await take(seats, user)

    async with connect("/ws/echo/", client=ada) as socket:  # so that it listens
        await socket.accepted()
    monkeypatch.setattr(Seats, "take", take_amid_log_out)
    async with connect("/ws/lobby/", client=ada) as socket:
        assert await ended(socket) == CloseCode.NOT_AUTHENTICATED


async def test_logging_in_elsewhere_closes_nothing(ada):
    async with connect("/ws/lobby/", client=ada) as socket:
        await socket.accepted()
        await socket.hear("presence")
        await sync_to_async(Client().force_login)(await User.objects.aget())
        assert await socket.receive_nothing()


async def test_a_session_that_ends_unnoticed_is_noticed_in_the_end(ada, monkeypatch):
    monkeypatch.setattr(users, "RECHECK_SECONDS", 0.05)
    async with connect("/ws/lobby/", client=ada) as socket:
        await socket.accepted()
        await socket.hear("presence")
        await Session.objects.all().adelete()
        assert await ended(socket) == CloseCode.NOT_AUTHENTICATED
