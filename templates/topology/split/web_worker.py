"""What gunicorn runs for pages: its worker with threads, with what that lacks, and the logs."""

import asyncio
import logging.config
import os
import random
import re
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from selectors import EVENT_READ
from threading import Thread, Timer

from gunicorn import glogging
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from gunicorn.http import parser
from gunicorn.workers import gthread

from config import contract
from config.logs import LOGGING
from realtime.leaving import SETTLE_SECONDS, first_in_line

logger = logging.getLogger(__name__)

PROBE = re.compile(rf"[A-Z]+ ({re.escape(contract.ROOT_PATH)})?/(livez|readyz)[ ?]".encode())
# Threads for probes, and to tell others that there is no time for them.
PROBE_THREADS = 4
# Whether this is one of them.
in_probe_pool: ContextVar[bool] = ContextVar("in_probe_pool", default=False)

# A stopping worker keeps quiet connections for so long: longer than nginx does.
gthread.STOP_KEEPALIVE_LINGER = SETTLE_SECONDS
# What a page leaves unread of a body is read before the next request, all of it: after 64 KiB
# gunicorn would close the connection that it has just said to keep, and somebody else's request
# with it.
parser._DRAIN_MAX_BYTES = contract.MAX_BODY_BYTES + 1


class Worker(gthread.ThreadWorker):
    """Serves pages in WEB_THREADS threads.

    - More than these wait for a thread. One more than MAX_CONNECTIONS under way is answered 503.
    - Probes do not wait: who is only busy is not to be taken for dead.
    - SIGTERM drains it: for SETTLE_SECONDS it goes on, but each answer closes its connection.
      gunicorn itself would accept no more at once, but keep what comes from then on waiting until
      the last request was answered, and drop it then.
    - After about MAX_REQUESTS it is replaced, by one that starts before it stops.
    """

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.draining = False
        self.under_way = 0
        most = contract.MAX_REQUESTS
        self.requests_left = most + random.randint(0, most // 10) if most else -1

    def get_thread_pool(self) -> ThreadPoolExecutor:
        self.probe_pool = ThreadPoolExecutor(
            PROBE_THREADS, initializer=in_probe_pool.set, initargs=[True]
        )
        return super().get_thread_pool()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.application, self.wsgi = self.wsgi, self.call

    def call(self, environ: dict, start_response):
        """Call the application, and tell it how things stand here (realtime/wsgi.py)."""
        environ |= {"serve.draining": self.draining, "serve.full": in_probe_pool.get()}
        return self.application(environ, start_response)

    def enqueue_req(self, conn: gthread.TConn) -> None:
        """Find a thread for a request; for a new connection, when it has sent something."""
        if not (conn.initialized or conn.data_ready):
            conn.timeout = time.monotonic() + self.cfg.keepalive
            self.pending_conns.append(conn)
            readable = partial(self.on_pending_socket_readable, conn)
            self.poller.register(conn.sock, EVENT_READ, readable)
            return
        has_time = self.under_way < contract.MAX_CONNECTIONS and not is_probe(conn.sock)
        pool = self.tpool if has_time else self.probe_pool
        self.under_way += has_time
        done = partial(self.method_queue.defer, self.done, conn, has_time)
        pool.submit(self.handle, conn).add_done_callback(done)

    def done(self, conn: gthread.TConn, was_page: bool, future: Future) -> None:
        """Keep or close the connection, and count the request."""
        self.finish_request(conn, future)
        self.under_way -= was_page
        self.requests_left -= was_page
        if was_page and self.requests_left == 0:
            Thread(target=self.recycle, daemon=True).start()

    def handle_exit(self, sig, frame) -> None:
        self.method_queue.defer(self.drain)

    def drain(self) -> None:
        """Leave when no connection is kept open any more."""
        if self.draining:
            return
        self.draining = True
        self.max_keepalived = 0
        logger.info("draining, with %d requests under way", self.under_way)
        leave = partial(super().handle_exit, signal.SIGTERM, None)
        Timer(SETTLE_SECONDS, leave).start()

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            # Who has come is let in; nobody is left waiting at a door that nobody opens.
            before = -1
            while before < self.nr_conns:
                before = self.nr_conns
                self.accept(listener)
            listener.close()

    def _cap_keepalive(self, deadline: float) -> None:
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def recycle(self) -> None:
        """Have gunicorn start one more process, and end the oldest, until that was this one."""
        while not self.draining:
            if asyncio.run(first_in_line()):
                logger.info("replaced after MAX_REQUESTS")
                for sig in (signal.SIGTTIN, signal.SIGTTOU):
                    os.kill(self.ppid, sig)
            time.sleep(1)


def is_probe(sock: socket.socket) -> bool:
    """Whether the request that begins on a connection asks for /livez or /readyz."""
    try:
        return bool(PROBE.match(sock.recv(256, socket.MSG_PEEK | socket.MSG_DONTWAIT)))
    except OSError:  # nothing there, or nobody
        return False


class Logger(glogging.Logger):
    """Logs as the application does."""

    def setup(self, cfg) -> None:
        logging.config.dictConfig(LOGGING)
        self.error_log.propagate = self.access_log.propagate = True


{% include "gunicorn/stop.py" %}
