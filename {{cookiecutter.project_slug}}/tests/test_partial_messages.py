"""The memory budget of incomplete messages."""

from serve.partial_messages import PartialMessageBudget


class Holder:
    """A server's WebSocket."""

    aborted = False

    def abort_message(self) -> None:
        self.aborted = True


def hold_each(size: int) -> tuple[PartialMessageBudget, list[Holder]]:
    """Return a budget of 100 bytes, and three sockets that hold so many bytes each."""
    budget, sockets = PartialMessageBudget(max_bytes=100), [Holder() for _ in range(3)]
    for socket in sockets:
        budget.hold(socket, size)
    return budget, sockets


def test_oldest_message_is_aborted():
    """Over the budget, the message that began first is aborted."""
    budget, (first, second, third) = hold_each(10)
    budget.hold(first, 30)
    budget.hold(third, 50)
    assert not any(socket.aborted for socket in (first, second, third))
    budget.hold(third, 60 + 1)
    assert [socket.aborted for socket in (first, second, third)] == [True, False, False]
    budget.hold(second, 100)
    assert second.aborted
    assert not third.aborted


def test_complete_messages_need_no_budget():
    """A complete message and a closed socket take nothing of the budget."""
    budget, (complete, closed, last) = hold_each(30)
    budget.hold(complete, 0)
    budget.hold(closed, 0)
    budget.hold(closed, 0)
    budget.hold(last, 100)
    assert not any(socket.aborted for socket in (complete, closed, last))
    budget.hold(complete, 1)
    assert last.aborted
