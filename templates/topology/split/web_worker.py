"""The worker that gunicorn runs for pages: its threaded one, with what that lacks."""

import asyncio
import logging
import os
import random
import re
import signal
import socket
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from selectors import EVENT_READ
from threading import Thread, Timer
from types import FrameType
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.utils.module_loading import import_string
from gunicorn.http import parser  # type: ignore[import-untyped]
from gunicorn.workers import gthread  # type: ignore[import-untyped]

from serve import conf, gunicorn_patches  # noqa: F401
from serve.control import ControlServer
from serve.shutdown import SETTLE_SECONDS
from serve.versions import require_versions
from serve.web import TESTED_VERSIONS
from serve.wsgi import DRAINING, FULL

require_versions(TESTED_VERSIONS)

logger = logging.getLogger(__name__)

HEALTH_CHECK = re.compile(
    rf"[A-Z]+ ({re.escape(conf.settings().ROOT_PATH)})?/(livez|readyz)[ ?]".encode()
)
# Threads for health checks, and for 503 responses to requests over the limit.
RESERVED_THREADS = 4
# Whether this thread is one of them.
in_reserved_pool: ContextVar[bool] = ContextVar("in_reserved_pool", default=False)

# How long a stopping worker keeps idle connections: longer than nginx does.
gthread.STOP_KEEPALIVE_LINGER = SETTLE_SECONDS
# What a view leaves unread of a request's body is read before the next request, all of it: after
# 64 KiB gunicorn would close a connection that it has just announced to keep, and nginx may have
# sent another client's request on it already.
parser._DRAIN_MAX_BYTES = conf.settings().MAX_BODY_BYTES + 1


class PatchedThreadWorker(gthread.ThreadWorker):  # type: ignore[misc]
    """Serve pages in WEB_THREADS threads, and stop without losing a request.

    - Further requests wait for a thread. With MAX_CONNECTIONS open, the next one is answered 503.
    - Health checks have threads of their own: a busy process must not look like a dead one.
    - SIGTERM drains it: for SETTLE_SECONDS it goes on, and each response closes its connection.
      Symptom: gunicorn accepts no more at once, keeps the new connections waiting until the last
      request is answered, and resets them then. https://github.com/benoitc/gunicorn/issues/922
    - After about MAX_REQUESTS it is replaced, by a process that starts before this one stops.
      Symptom: gunicorn starts the new one afterwards, and requests wait for it.
      https://github.com/benoitc/gunicorn/issues/2422
    - A new connection takes no thread until it has sent something.
    """

    application: WSGIApplication
    wsgi: WSGIApplication
    stopping = False
    # By `manage.py drain`: it goes on, but /readyz is 503.
    drained = False

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open_requests = 0
        limit = conf.settings().MAX_REQUESTS
        jitter = random.randint(0, limit // 10)  # noqa: S311
        self.requests_left = limit + jitter if limit else -1

    def run(self) -> None:
        control = ControlServer(conf.settings().CONTROL_DIR, drain=self.drain, resume=self.resume)
        control.start()
        try:
            super().run()
        finally:
            control.stop()

    def drain(self) -> int:
        """Make /readyz 503. Return the number of WebSockets left, of which there are none here."""
        self.drained = True
        return 0

    def resume(self) -> None:
        """Undo drain()."""
        self.drained = False

    def get_thread_pool(self) -> ThreadPoolExecutor:
        self.reserved_pool = ThreadPoolExecutor(
            RESERVED_THREADS, initializer=in_reserved_pool.set, initargs=(True,)
        )
        pool: ThreadPoolExecutor = super().get_thread_pool()
        return pool

    def load_wsgi(self) -> None:
        super().load_wsgi()
        self.application, self.wsgi = self.wsgi, self.call

    def call(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Call the application with the state of this process in the environ (serve/wsgi.py)."""
        environ |= {DRAINING: self.stopping or self.drained, FULL: in_reserved_pool.get()}
        return self.application(environ, start_response)

    def enqueue_req(self, conn: gthread.TConn) -> None:
        """Submit a request to a thread pool; a new connection, when it has sent something."""
        if not (conn.initialized or conn.data_ready):
            conn.timeout = time.monotonic() + self.cfg.keepalive
            self.pending_conns.append(conn)
            readable = partial(self.on_pending_socket_readable, conn)
            self.poller.register(conn.sock, EVENT_READ, readable)
            return
        is_page = self.open_requests < conf.settings().MAX_CONNECTIONS and not is_health_check(
            conn.sock
        )
        pool = self.tpool if is_page else self.reserved_pool
        self.open_requests += is_page
        done = partial(self.method_queue.defer, self.done, conn, is_page)
        pool.submit(self.handle, conn).add_done_callback(done)

    def done(self, conn: gthread.TConn, was_page: bool, future: Future[Any]) -> None:
        """Keep or close the connection, and count the request."""
        self.finish_request(conn, future)
        self.open_requests -= was_page
        self.requests_left -= was_page
        if was_page and self.requests_left == 0:
            Thread(target=self.recycle, daemon=True).start()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.method_queue.defer(self.begin_stop)

    def begin_stop(self) -> None:
        """Close each connection with its next response; stop listening after SETTLE_SECONDS."""
        if self.stopping:
            return
        self.stopping = True
        self.max_keepalived = 0
        logger.info("draining, with %d requests open", self.open_requests)
        stop = partial(super().handle_exit, signal.SIGTERM, None)
        Timer(SETTLE_SECONDS, stop).start()

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if self.alive:
            return
        for listener in self.sockets:
            # Accept what the kernel has queued: it resets what is left when the listener closes.
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
        """Have gunicorn start a process and stop the oldest one, until that is this one."""
        may_recycle = import_string(conf.settings().MAY_RECYCLE)
        while not self.stopping:
            if asyncio.run(may_recycle()):
                logger.info("replaced after MAX_REQUESTS")
                for sig in (signal.SIGTTIN, signal.SIGTTOU):
                    os.kill(self.ppid, sig)
            time.sleep(1)


def is_health_check(sock: socket.socket) -> bool:
    """Whether the next request on a connection is for /livez or /readyz."""
    try:
        return bool(HEALTH_CHECK.match(sock.recv(256, socket.MSG_PEEK | socket.MSG_DONTWAIT)))
    except OSError:  # nothing has arrived, or the peer has disconnected
        return False
