"""Session revocation: sockets close when their log-in ends."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from realtime import revocation
from realtime.protocol import CloseCode
from realtime.quotas import ConnectionQuota
from tests.websockets import WebSocketClient, connect, until


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


async def ended(socket: WebSocketClient) -> int:
    """Return the close code of a socket, skipping earlier messages."""
    while (message := await socket.receive())["type"] != "websocket.close":
        pass
    return message["code"]


@pytest.mark.parametrize("change", [change_password, deactivate, delete])
async def test_account_change(ada, change):
    """A changed password, deactivation or deletion closes all sockets of the user."""
    async with (
        connect("/ws/lobby/", client=ada) as first,
        connect("/ws/lobby/", client=ada) as second,
    ):
        for socket in (first, second):
            await socket.follows()
        await sync_to_async(change)()
        for socket in (first, second):
            assert await ended(socket) == CloseCode.NOT_AUTHENTICATED


async def test_logout(ada):
    """Logging out closes the sockets of that session only."""
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
        assert await there.receive_type("message")


async def test_logout_during_handshake(ada, monkeypatch):
    """A socket whose session logs out during the handshake is closed with 4401."""
    acquire = ConnectionQuota.acquire

    async def acquire_during_logout(quota: ConnectionQuota, user: str) -> bool:
        await sync_to_async(ada.post)("/accounts/logout/")
        await until(lambda: user in revocation.registry().recent)  # this process was notified
        return await acquire(quota, user)

    async with connect("/ws/echo/", client=ada) as socket:  # starts this process's listener
        await socket.accepted()
    monkeypatch.setattr(ConnectionQuota, "acquire", acquire_during_logout)
    async with connect("/ws/lobby/", client=ada) as socket:
        assert await ended(socket) == CloseCode.NOT_AUTHENTICATED


async def test_second_login(ada):
    """Logging in from another browser closes no socket."""
    async with connect("/ws/lobby/", client=ada) as socket:
        await socket.accepted()
        await socket.receive_type("presence")
        await sync_to_async(Client().force_login)(await User.objects.aget())
        assert await socket.receive_nothing()


async def test_periodic_recheck(ada, monkeypatch):
    """A session deleted without a notification is found after at most RECHECK_SECONDS."""
    monkeypatch.setattr(revocation, "RECHECK_EVERY", 0.05)
    async with connect("/ws/lobby/", client=ada) as socket:
        await socket.accepted()
        await socket.receive_type("presence")
        await Session.objects.all().adelete()
        assert await ended(socket) == CloseCode.NOT_AUTHENTICATED
