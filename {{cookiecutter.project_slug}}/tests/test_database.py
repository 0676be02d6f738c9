"""Database threads, shared by all sockets."""

import asyncio
import threading
import time

from asgiref.sync import sync_to_async

from realtime.builtin_consumers import EchoConsumer
from realtime.database import DatabaseThreads
from tests.websockets import connect


async def test_shared_threads():
    """Sockets share a fixed number of database threads, which run queries in parallel."""

    def query():
        time.sleep(0.3)
        return threading.get_ident()

    threads = []

    async def socket(scope, receive, send):
        threads.append(await sync_to_async(query)())

    application = DatabaseThreads(socket, threads=4)
    started = time.monotonic()
    # One task per socket, as servers do.
    await asyncio.gather(*(application({}, None, None) for _ in range(12)))
    assert len(set(threads)) == 4
    assert time.monotonic() - started < 12 * 0.3


async def test_application_threads(monkeypatch, transactional_db):
    """The application runs its sockets' database work on more than one thread."""

    async def tell_thread(self, text_data):
        await self.send(str(await sync_to_async(threading.get_ident)()))

    monkeypatch.setattr(EchoConsumer, "receive", tell_thread)
    threads = set()
    async with connect("/ws/echo/") as first, connect("/ws/echo/") as second:
        for socket in (first, second):
            await socket.receive()
            await socket.send("which?")
            threads.add((await socket.receive())["text"])
    assert len(threads) == 2
