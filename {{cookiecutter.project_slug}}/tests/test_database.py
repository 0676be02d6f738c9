"""Database work of many sockets at a time."""

import asyncio
import threading
import time

from asgiref.sync import sync_to_async

from realtime.database import DatabaseThreads


async def test_sockets_share_a_few_threads_and_do_not_wait_for_one():
    def query():
        time.sleep(0.05)
        return threading.get_ident()

    threads = []

    async def socket(scope, receive, send):
        threads.append(await sync_to_async(query)())

    application = DatabaseThreads(socket, threads=4)
    started = time.monotonic()
    # Each in a task of its own, as servers do.
    await asyncio.gather(*(application({}, None, None) for _ in range(12)))
    assert len(set(threads)) == 4
    assert time.monotonic() - started < 12 * 0.05
