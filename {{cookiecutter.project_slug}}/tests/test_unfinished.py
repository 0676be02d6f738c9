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


def waiting(size: int) -> tuple[Unfinished, list[Socket]]:
    """Return three sockets that hold so much each, and what counts that."""
    messages, sockets = Unfinished(), [Socket() for _ in range(3)]
    for socket in sockets:
        messages.hold(socket, size)
    return messages, sockets


def test_whose_message_began_first_is_given_up_when_there_is_too_much():
    messages, (first, second, third) = waiting(10)
    messages.hold(first, 30)
    messages.hold(third, 50)
    assert not any(socket.given_up for socket in (first, second, third))
    messages.hold(third, 60 + 1)
    assert [socket.given_up for socket in (first, second, third)] == [True, False, False]
    messages.hold(second, 100)
    assert second.given_up
    assert not third.given_up


def test_a_message_that_is_whole_or_whose_socket_has_gone_takes_nothing():
    messages, (whole, gone, last) = waiting(30)
    messages.hold(whole, 0)
    messages.hold(gone, 0)
    messages.hold(gone, 0)
    messages.hold(last, 100)
    assert not any(socket.given_up for socket in (whole, gone, last))
    messages.hold(whole, 1)
    assert last.given_up
