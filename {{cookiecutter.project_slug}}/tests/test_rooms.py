"""People in rooms."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from realtime.consumers import CloseCode
from rooms.models import Message
from tests.sockets import Socket, connect


async def enter(socket: Socket) -> dict:
    """Wait until a socket is let into its room, and return what it is told."""
    assert (await socket.receive())["type"] == "websocket.accept"
    return json.loads((await socket.receive())["text"])


async def test_everyone_in_a_room_hears_what_is_said(ada):
    async with (
        connect("/ws/rooms/lobby/", client=ada) as speaker,
        connect("/ws/rooms/lobby/", client=ada) as listener,
        connect("/ws/rooms/attic/", client=ada) as elsewhere,
    ):
        for socket in (speaker, listener, elsewhere):
            assert (await enter(socket))["you"] == "ada"
        await speaker.send('{"type": "say", "text": " hello "}')
        for socket in (speaker, listener):
            message = json.loads((await socket.receive())["text"])
            assert (message["author"], message["text"]) == ("ada", "hello")
        assert await elsewhere.receive_nothing()


async def test_a_message_outlives_the_sockets(ada):
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        await socket.send('{"type": "say", "text": "remember me"}')
        sent = json.loads((await socket.receive())["text"])
    message = await Message.objects.aget()
    assert (message.pk, message.text, message.room) == (sent["id"], "remember me", "lobby")


async def test_a_stranger_is_told_to_log_in(transactional_db):
    async with connect("/ws/rooms/lobby/") as socket:
        assert (await socket.receive())["type"] == "websocket.accept"
        assert (await socket.receive())["code"] == CloseCode.NOT_AUTHENTICATED


@pytest.mark.parametrize(
    "nonsense",
    [
        "nonsense",
        "[]",
        '{"type": "shout"}',
        '{"type": "say", "text": ""}',
        '{"type": "say", "text": 1}',
        json.dumps({"type": "say", "text": "x" * 2001}),
    ],
    ids=["no JSON", "no object", "no such type", "nothing said", "no text", "too long"],
)
async def test_a_client_that_talks_nonsense_is_closed(ada, nonsense):
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        await socket.send(nonsense)
        assert (await socket.receive())["code"] == CloseCode.PROTOCOL_ERROR
    assert not await Message.objects.aexists()


def test_the_page_shows_what_was_said_last_oldest_first(ada):
    author = User.objects.get()
    for number in range(60):
        Message.objects.create(room="lobby", author=author, text=f"line {number:02}")
    page = ada.get(reverse("room", args=["lobby"])).content.decode()
    assert "line 09" not in page
    assert page.index("line 10") < page.index("line 59")


def test_the_page_asks_a_stranger_to_log_in(db):
    response = Client().get(reverse("room", args=["lobby"]))
    assert response.url == "/accounts/login/?next=/rooms/lobby/"


def test_a_room_is_found_by_its_name(client):
    assert client.get("/", {"room": "attic"}).url == "/rooms/attic/"


@pytest.mark.parametrize("name", ["", "with space", "x" * 51, "../admin"])
def test_a_name_that_no_room_can_have_is_not_found(client, name):
    assert client.get("/", {"room": name}).status_code == 404
