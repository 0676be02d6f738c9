"""Rooms: the example application."""

import json
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from realtime.protocol import CloseCode
from rooms.models import Message
from tests.websockets import WebSocketClient, connect


async def enter(socket: WebSocketClient) -> dict:
    """Wait for the subscription to a room and return its `subscribed` message."""
    await socket.accepted()
    assert (await socket.receive_type("welcome"))["you"] == "ada"
    return await socket.receive_type("subscribed")


async def said(socket: WebSocketClient) -> dict:
    """Return the data of the next message."""
    return (await socket.receive_type("message"))["data"]


async def test_message_reaches_room(ada):
    """A message reaches every socket in its room, and no other room."""
    async with (
        connect("/ws/rooms/lobby/", client=ada) as speaker,
        connect("/ws/rooms/lobby/", client=ada) as listener,
        connect("/ws/rooms/attic/", client=ada) as elsewhere,
    ):
        for socket in (speaker, listener, elsewhere):
            await enter(socket)
        await speaker.send('{"type": "say", "text": " hello "}')
        for socket in (speaker, listener):
            message = await said(socket)
            assert (message["author"], message["text"]) == ("ada", "hello")
        assert (await elsewhere.receive_type("presence"))["members"] == ["ada"]
        assert await elsewhere.receive_nothing()


async def test_message_is_stored(ada):
    """A message is stored in the database."""
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        await socket.send('{"type": "say", "text": "remember me"}')
        sent = await said(socket)
    message = await Message.objects.aget()
    assert (message.pk, message.text, message.room) == (sent["id"], "remember me", "lobby")


async def test_idempotency_key(ada):
    """A message sent again with the same key is stored and delivered once."""
    again = json.dumps({"type": "say", "text": "once", "key": str(uuid4())})
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        for line in (again, again, '{"type": "say", "text": "and then"}'):
            await socket.send(line)
        assert [(await said(socket))["text"] for _ in range(2)] == ["once", "and then"]
    assert await Message.objects.acount() == 2


async def test_recovery_from_page(ada):
    """A socket receives the messages published since its page was rendered."""
    page = await sync_to_async(ada.get)("/rooms/lobby/")
    async with connect("/ws/rooms/lobby/", client=ada) as speaker:
        await enter(speaker)
        await speaker.send('{"type": "say", "text": "in between"}')
        await said(speaker)
    path = f"/ws/rooms/lobby/?position={page.context['position']}"
    async with connect(path, client=ada) as socket:
        assert (await enter(socket))["recovered"] is True
        assert (await said(socket))["text"] == "in between"


async def test_anonymous_socket(transactional_db):
    """An anonymous user's socket is closed with 4401."""
    async with connect("/ws/rooms/lobby/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        assert (await socket.receive())["code"] == CloseCode.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "content",
    [
        "content",
        "[]",
        '{"type": "shout"}',
        '{"type": "say", "text": ""}',
        '{"type": "say", "text": 1}',
        r'{"type": "say", "text": "a\u0000b"}',
        '{"type": "say", "text": "a", "key": "b"}',
        '{"type": "say", "text": "a", "key": 1}',
        json.dumps({"type": "say", "text": "x" * 2001}),
    ],
    ids=lambda text: text[:32],
)
async def test_invalid_message(ada, content):
    """An invalid message closes the socket and is not stored."""
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        await socket.receive_type("presence")
        await socket.send(content)
        assert (await socket.receive())["code"] == CloseCode.BAD_MESSAGE
    assert not await Message.objects.aexists()


def test_page_history(ada):
    """The page shows the last 50 messages, oldest first."""
    author = User.objects.get()
    for number in range(60):
        Message.objects.create(room="lobby", author=author, text=f"line {number:02}")
    page = ada.get(reverse("room", args=["lobby"])).content.decode()
    assert "line 09" not in page
    assert page.index("line 10") < page.index("line 59")


def test_anonymous_page(db):
    """The page redirects anonymous users to the log-in page."""
    response = Client().get(reverse("room", args=["lobby"]))
    assert response.url == "/accounts/login/?next=/rooms/lobby/"


def test_room_form(client):
    """The home page's form redirects to the room of the given name."""
    assert client.get("/", {"room": "attic"}).url == "/rooms/attic/"


@pytest.mark.parametrize("name", ["", "with space", "x" * 51, "../admin"])
def test_invalid_room_name(client, name):
    """An invalid room name is answered with 404."""
    assert client.get("/", {"room": name}).status_code == 404


def test_admin(ada: Client):
    """The admin lists messages."""
    User.objects.update(is_staff=True, is_superuser=True)
    assert ada.get("/admin/rooms/message/").status_code == 200
