"""Threads for the database work of sockets."""

from itertools import cycle

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope


class DatabaseThreads:
    """ASGI middleware that shares a few threads among all sockets of a process.

    By default, asgiref runs the blocking work of all sockets in a single thread, where one slow
    query delays all: https://github.com/django/asgiref/issues/218. A `ThreadSensitiveContext` per
    socket would keep a thread per socket: here, sockets share a few contexts that outlive them.

    Args:
        app: the ASGI application that handles the sockets.
        threads: how many there are, and so how many queries run at a time.
    """

    def __init__(self, app: ASGI3Application, threads: int = 8) -> None:
        self.app = app
        self.contexts = cycle([ThreadSensitiveContext() for _ in range(threads)])

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        # No reset is needed: servers run each socket in a task, and so in a context, of its own.
        SyncToAsync.thread_sensitive_context.set(next(self.contexts))
        await self.app(scope, receive, send)
