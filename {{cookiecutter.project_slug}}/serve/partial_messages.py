"""One memory budget for the incomplete WebSocket messages of a process.

A message may have WS_MAX_MESSAGE_BYTES, and nginx gives a client CLIENT_MAX_SOCKETS connections: an
endless message on each of them would take more memory than a container has.
"""

from typing import Protocol

from serve import conf

# In bytes, for all processes. Most messages arrive at once, and need none of it.
BUDGET = 64 * 1024**2

# https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
TRY_AGAIN_LATER = 1013, "too many incomplete messages"


class PartialMessageHolder(Protocol):
    """A server's WebSocket, which buffers a message until its last frame has arrived."""

    def abort_message(self) -> None:
        """Discard the buffered message, and close with TRY_AGAIN_LATER."""


class PartialMessageBudget:
    """The sizes of the incomplete messages that the WebSockets of this process buffer.

    Args:
        max_bytes: the limit for their sum.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held: dict[PartialMessageHolder, int] = {}  # the oldest message first
        self.total = 0

    def hold(self, socket: PartialMessageHolder, size: int) -> None:
        """Record how much a socket buffers. Abort the oldest messages while the sum is too large.

        Args:
            socket: the WebSocket.
            size: in bytes; 0 when the message is complete or the socket is closed.
        """
        self.total += size - self.held.get(socket, 0)
        if size:
            self.held[socket] = size
        else:
            self.held.pop(socket, None)
        while self.total > self.max_bytes:
            oldest = next(iter(self.held))
            self.total -= self.held.pop(oldest)
            oldest.abort_message()


partial_messages = PartialMessageBudget(
    max(BUDGET // conf.settings().PROCESSES, conf.settings().WS_MAX_MESSAGE_BYTES)
)
