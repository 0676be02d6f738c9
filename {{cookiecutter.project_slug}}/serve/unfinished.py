"""Memory for messages that have not come whole: so much for all sockets of a process together.

A message may be as large as WS_MAX_MESSAGE_BYTES, and one client may have CLIENT_MAX_SOCKETS: with
a message that never ends on each of them it would take all the memory that a container has.
"""

from typing import Protocol

from config import contract

# In bytes. Most messages come whole, at once, and take none of it.
MOST = max(64 * 1024**2 // contract.WEB_CONCURRENCY, contract.WS_MAX_MESSAGE_BYTES)

# https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
TRY_AGAIN_LATER = 1013, "too much is unfinished"


class Socket(Protocol):
    """A WebSocket of the server's, which holds the beginning of a message."""

    def give_up_message(self) -> None:
        """Forget it, and close with TRY_AGAIN_LATER."""


class Unfinished:
    """What the sockets of this process hold of messages that are still to come."""

    def __init__(self) -> None:
        self.held: dict[Socket, int] = {}  # in the order in which the messages began
        self.total = 0

    def hold(self, socket: Socket, size: int) -> None:
        """Note how much a socket holds now. If all hold too much, who began first is closed.

        Args:
            socket: whose.
            size: in bytes; 0 when the message is whole, or the socket has gone.
        """
        self.total += size - self.held.get(socket, 0)
        if size:
            self.held[socket] = size
        else:
            self.held.pop(socket, None)
        while self.total > MOST:
            first = next(iter(self.held))
            self.total -= self.held.pop(first)
            first.give_up_message()


unfinished = Unfinished()
