"""Messages that have not come whole."""

import pytest

from serve import unfinished
from serve.unfinished import Unfinished


class Socket:
    """A WebSocket of a server's."""

    given_up = False

    def give_up_message(self) -> None:
        self.given_up = True


@pytest.fixture(autouse=True)
def _little_memory(monkeypatch):
    monkeypatch.setattr(unfinished, "MOST", 100)


def test_whose_message_began_first_is_given_up_when_there_is_too_much():
    first, second, third = sockets = [Socket() for _ in range(3)]
    messages = Unfinished()
    for socket in sockets:
        messages.hold(socket, 10)
    messages.hold(first, 30)
    messages.hold(third, 50)
    assert not any(socket.given_up for socket in sockets)
    messages.hold(third, 60 + 1)
    assert [socket.given_up for socket in sockets] == [True, False, False]
    messages.hold(second, 100)
    assert second.given_up
    assert not third.given_up


def test_a_message_that_is_whole_or_whose_socket_has_gone_takes_nothing():
    whole, gone, waiting = sockets = [Socket() for _ in range(3)]
    messages = Unfinished()
    for socket in sockets:
        messages.hold(socket, 30)
    messages.hold(whole, 0)
    messages.hold(gone, 0)
    messages.hold(gone, 0)
    messages.hold(waiting, 100)
    assert not any(socket.given_up for socket in sockets)
    messages.hold(whole, 1)
    assert waiting.given_up
