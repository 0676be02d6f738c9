"""Database work of many sockets at a time."""

import asyncio
import threading
import time

from asgiref.sync import sync_to_async

from realtime.consumers import EchoConsumer
from realtime.database import DatabaseThreads
from tests.sockets import connect


async def test_sockets_share_a_few_threads_and_do_not_wait_for_one():
    def query():
        time.sleep(0.3)
        return threading.get_ident()

    threads = []

    async def socket(scope, receive, send):
        threads.append(await sync_to_async(query)())

    application = DatabaseThreads(socket, threads=4)
    started = time.monotonic()
    # Each in a task of its own, as servers do.
    await asyncio.gather(*(application({}, None, None) for _ in range(12)))
    assert len(set(threads)) == 4
    assert time.monotonic() - started < 12 * 0.3


async def test_the_application_uses_them(monkeypatch, transactional_db):
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
