"""What belongs to an event loop: one of each, and tasks in the background."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

logger = logging.getLogger(__name__)


class PerLoop(Generic[T]):
    """Make one of something for each event loop, when it is first called there.

    Args:
        make: returns a new one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self.make = make
        self.made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def __call__(self) -> T:
        """Return that of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self.made:
            self.made[loop] = self.make()
        return self.made[loop]

    def exists(self) -> bool:
        """Whether the running loop has one."""
        return asyncio.get_running_loop() in self.made


tasks: set[asyncio.Task] = set()


def background(coroutine: Coroutine) -> asyncio.Task:
    """Run what belongs to no request, so that it is not logged with the id of the present one."""
    task = asyncio.create_task(coroutine, context=Context())
    # A loop itself forgets tasks that nobody else remembers.
    tasks.add(task)
    task.add_done_callback(ended)
    return task


def ended(task: asyncio.Task) -> None:
    """Log the error that ended a task, which nobody awaits."""
    tasks.discard(task)
    if not task.cancelled() and (error := task.exception()):
        logger.error("a task in the background has failed", exc_info=error)
