"""Threads for the database work of sockets."""

from itertools import cycle

from asgiref.sync import SyncToAsync, ThreadSensitiveContext


class DatabaseThreads:
    """ASGI middleware that shares out a few threads among all sockets of a process.

    Unless told otherwise, asgiref runs the blocking work of all sockets on a single thread, where
    one slow query holds up everybody: https://github.com/django/asgiref/issues/218. A
    `ThreadSensitiveContext` for each socket would keep a thread for each: here a socket is given
    one of a few contexts that outlive it.

    Args:
        application: the ASGI application that handles the sockets.
        threads: how many there are, and so how many queries run at a time.
    """

    def __init__(self, application, threads: int = 8) -> None:
        self.application = application
        self.contexts = cycle([ThreadSensitiveContext() for _ in range(threads)])

    async def __call__(self, scope, receive, send) -> None:
        # Needs no reset: a server runs each socket in a task, and so in a context, of its own.
        SyncToAsync.thread_sensitive_context.set(next(self.contexts))
        await self.application(scope, receive, send)
