"""hypercorn's command line, with what it has no option for, and what it lacks.

Each of its processes imports this module, so what is set here is set in all of them.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from hypercorn import __main__, run
from hypercorn.asyncio import run as asyncio_run
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.logging import Logger
from hypercorn.protocol import h11
from hypercorn.protocol.events import Event, StreamClosed
from hypercorn.protocol.ws_stream import FrameTooLargeError, WSStream
from hypercorn.typing import WebsocketAcceptEvent
from wsproto.events import CloseConnection, Message, Ping
from wsproto.events import Event as WSProtoEvent
from wsproto.frame_protocol import CloseReason

from serve import conf
from serve.partial_messages import TRY_AGAIN_LATER, partial_messages
from serve.server import TESTED_VERSIONS
from serve.versions import require_versions
from serve.worker_common import IN_FLIGHT_SECONDS, configure_logging

require_versions(TESTED_VERSIONS)


class PatchedLogger(Logger):
    """Log as Django's `LOGGING` says, instead of by handlers of hypercorn's own."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        configure_logging()


class PatchedWSStream(WSStream):
    """Close WebSockets whose peer does not answer, and say why one is closed.

    Symptoms, in hypercorn's WSStream: it sends pings, and goes on when no pong comes; waits
    indefinitely for the answer to a close; keeps what follows a message that is too large; cuts the
    connection after a protocol error without a close frame; compresses whenever the peer offers it,
    without an option: https://github.com/pgjones/hypercorn/issues/307
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.disconnected = asyncio.Event()
        self.close_sent = False
        self.last_received = self.context.time()

    async def handle(self, event: Event) -> None:
        if not self.close_sent:
            self.last_received = self.context.time()
        await super().handle(event)
        if self.closed:
            self.disconnected.set()
            partial_messages.hold(self, 0)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case CloseConnection():
                    if not self.close_sent:
                        await self._send_wsproto_event(event.response())
                    await self.send(StreamClosed(stream_id=self.stream_id))
                case _ if self.close_sent:
                    pass
                case Ping():
                    await self._send_wsproto_event(event.response())
                case Message():
                    await self._receive(event)

    async def _receive(self, event: Message[Any]) -> None:
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.buffer.clear()
            partial_messages.hold(self, 0)
            await self._send_wsproto_event(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
            return
        partial_messages.hold(self, 0 if event.message_finished else self.buffer.length)
        if event.message_finished and self.app_put:
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        # Compression doubles the memory of a WebSocket, and most messages are short.
        self.handshake.extensions = None
        await super()._accept(message)

    def abort_message(self) -> None:
        self.buffer.clear()
        close = self._send_wsproto_event(CloseConnection(*TRY_AGAIN_LATER))
        self.abort_task = asyncio.create_task(close)  # a task without a reference may be collected

    async def _send_wsproto_event(self, event: WSProtoEvent) -> None:
        if isinstance(event, CloseConnection):
            self.close_sent = True
        await super()._send_wsproto_event(event)

    async def _send_pings(self) -> None:
        interval = conf.settings().WS_PING_INTERVAL
        timeout = conf.settings().WS_PING_TIMEOUT
        while not self.closed:
            silence = self.context.time() - self.last_received
            if silence >= interval + timeout:
                reason = CloseReason.INTERNAL_ERROR
                await self._send_wsproto_event(CloseConnection(reason, "keepalive ping timeout"))
                await self.send(StreamClosed(stream_id=self.stream_id))
            elif silence >= interval:
                await self._send_wsproto_event(Ping())
                await self._sleep_while_open(interval + timeout - silence)
            else:
                await self._sleep_while_open(interval - silence)

    async def _sleep_while_open(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.disconnected.wait()


class PatchedTCPServer(TCPServer):
    """Wait for the first request of a connection just made, before the process stops.

    Symptom: hypercorn closes idle connections at once, and the request on its way is lost.
    """

    async def _idle_timeout(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.keep_alive_timeout):
                await self.context.terminated.wait()
                await asyncio.sleep(IN_FLIGHT_SECONDS)
        await asyncio.shield(self._initiate_server_close())


original_worker_serve = asyncio_run.worker_serve
original_join_exited = run._join_exited


async def worker_serve(
    *args: Any, shutdown_trigger: Callable[..., Awaitable[None]] | None = None, **options: Any
) -> None:
    """Let SIGTERM stop each process, by a handler that the drain can be put before.

    Symptom: hypercorn adds its handler to the event loop, where signal.getsignal() does not find
    it; and with several processes only the parent has one.

    Args:
        args: hypercorn's own, as are `options`.
        shutdown_trigger: returns when the parent stops this process; None if there is no parent.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))

    async def forward_shutdown(trigger: Callable[..., Awaitable[None]]) -> None:
        await trigger()
        signal.raise_signal(signal.SIGTERM)

    if shutdown_trigger:
        forwarding = asyncio.create_task(forward_shutdown(shutdown_trigger))
        forwarding.add_done_callback(asyncio.Task.result)  # raises what ended it, to be logged
    await original_worker_serve(*args, shutdown_trigger=stop.wait, **options)


exit_statuses: list[int] = []


def join_exited(processes: list[BaseProcess]) -> int:
    """Return the exit status of the first process that failed.

    Symptom: hypercorn's parent overwrites it with that of the processes that it stops then, and
    exits with 0.
    """
    if status := original_join_exited(processes):
        exit_statuses.append(status)
    return exit_statuses[0] if exit_statuses else 0


Config.include_server_header = False
Config.logger_class = PatchedLogger
Config.websocket_max_message_size = conf.settings().WS_MAX_MESSAGE_BYTES
h11.WSStream = PatchedWSStream  # type: ignore[attr-defined, assignment]
asyncio_run.TCPServer = PatchedTCPServer  # type: ignore[attr-defined]
asyncio_run.worker_serve = worker_serve
run._join_exited = join_exited

if __name__ == "__main__":
    sys.exit(__main__.main())
