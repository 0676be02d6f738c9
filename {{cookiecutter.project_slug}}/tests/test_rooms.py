"""People in rooms."""

import json
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from realtime.consumers import CloseCode
from rooms.models import Message
from tests.sockets import Socket, connect


async def enter(socket: Socket) -> dict:
    """Wait until a socket follows its room, and return what it is told of that."""
    await socket.accepted()
    assert (await socket.hear("welcome"))["you"] == "ada"
    return await socket.hear("subscribed")


async def said(socket: Socket) -> dict:
    """Return what is said next."""
    return (await socket.hear("message"))["data"]


async def test_everyone_in_a_room_hears_what_is_said(ada):
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
        assert (await elsewhere.hear("presence"))["here"] == ["ada"]
        assert await elsewhere.receive_nothing()


async def test_a_message_outlives_the_sockets(ada):
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        await socket.send('{"type": "say", "text": "remember me"}')
        sent = await said(socket)
    message = await Message.objects.aget()
    assert (message.pk, message.text, message.room) == (sent["id"], "remember me", "lobby")


async def test_what_is_said_again_with_the_same_key_is_kept_and_sent_once(ada):
    again = json.dumps({"type": "say", "text": "once", "key": str(uuid4())})
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        for line in (again, again, '{"type": "say", "text": "and then"}'):
            await socket.send(line)
        assert [(await said(socket))["text"] for _ in range(2)] == ["once", "and then"]
    assert await Message.objects.acount() == 2


async def test_what_was_said_since_the_page_was_made_is_sent_to_its_socket(ada):
    page = await sync_to_async(ada.get)("/rooms/lobby/")
    async with connect("/ws/rooms/lobby/", client=ada) as speaker:
        await enter(speaker)
        await speaker.send('{"type": "say", "text": "in between"}')
        await said(speaker)
    path = f"/ws/rooms/lobby/?position={page.context['position']}"
    async with connect(path, client=ada) as socket:
        assert (await enter(socket))["recovered"] is True
        assert (await said(socket))["text"] == "in between"


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
        r'{"type": "say", "text": "a\u0000b"}',
        '{"type": "say", "text": "a", "key": "b"}',
        '{"type": "say", "text": "a", "key": 1}',
        json.dumps({"type": "say", "text": "x" * 2001}),
    ],
    ids=lambda text: text[:32],
)
async def test_a_client_that_talks_nonsense_is_closed(ada, nonsense):
    async with connect("/ws/rooms/lobby/", client=ada) as socket:
        await enter(socket)
        await socket.hear("presence")
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


def test_the_admin_lists_messages(ada: Client):
    User.objects.update(is_staff=True, is_superuser=True)
    assert ada.get("/admin/rooms/message/").status_code == 200
