"""Objects that belong to an event loop, and tasks that belong to no request."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

logger = logging.getLogger(__name__)


class EventLoopLocal(Generic[T]):
    """Returns one object per event loop, which is made when it is first requested there.

    Args:
        factory: makes the object.
    """

    def __init__(self, factory: Callable[[], T]) -> None:
        self.factory = factory
        self.objects: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def __call__(self) -> T:
        """Return the object of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self.objects:
            self.objects[loop] = self.factory()
        return self.objects[loop]

    def exists(self) -> bool:
        """Return whether the running loop has one."""
        return asyncio.get_running_loop() in self.objects


# An event loop itself keeps only weak references to its tasks:
# https://docs.python.org/3/library/asyncio-task.html#asyncio.create_task
tasks: set[asyncio.Task[object]] = set()


def spawn(coroutine: Coroutine[object, object, T]) -> asyncio.Task[T]:
    """Run a coroutine as a task of its own, in an empty context.

    Otherwise its log lines would carry the request id of the request that happened to start it.
    """
    task = asyncio.create_task(coroutine, context=Context())
    tasks.add(task)
    task.add_done_callback(finish)
    return task


def finish(task: asyncio.Task[object]) -> None:
    """Log the exception of a task that is not awaited."""
    tasks.discard(task)
    if not task.cancelled() and (error := task.exception()):
        logger.error("background task failed", exc_info=error)
