"""hypercorn's own command line, with what it has no option for, and what it lacks.

Its processes import this module each for itself, so that what is set here is set in all of them.
"""

import asyncio
import logging.config
import signal
import sys
from contextlib import suppress

from hypercorn import __main__, config, run
from hypercorn import logging as logs
from hypercorn.asyncio import run as one
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol import h11
from hypercorn.protocol.events import Event, StreamClosed
from hypercorn.protocol.ws_stream import FrameTooLargeError, WSStream
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from config import contract
from config.logs import LOGGING
from serve.unfinished import TRY_AGAIN_LATER, unfinished

# What a request takes from the connection to the first byte, with time to spare.
ON_ITS_WAY = 0.5  # seconds


class Logger(logs.Logger):
    """Logs as the application does."""

    def __init__(self, config: config.Config) -> None:
        super().__init__(config)
        logging.config.dictConfig(LOGGING)


class Socket(WSStream):
    """A WebSocket without compression, whose peer is dropped when it does not answer.

    hypercorn itself sends pings, but nothing follows from them; waits for ever for the answer to a
    close; keeps what comes after a message that is too large; and hangs up on a protocol error
    without a word.
    """

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.gone = asyncio.Event()
        self.leaving = False
        self.heard = self.context.time()

    async def handle(self, event: Event) -> None:
        if not self.leaving:
            self.heard = self.context.time()
        await super().handle(event)
        if self.closed:
            self.gone.set()
            unfinished.hold(self, 0)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            match event:
                case CloseConnection():
                    if not self.leaving:
                        await self._send_wsproto_event(event.response())
                    await self.send(StreamClosed(stream_id=self.stream_id))
                case _ if self.leaving:
                    pass
                case Ping():
                    await self._send_wsproto_event(event.response())
                case Message():
                    await self._receive(event)

    async def _receive(self, event: Message) -> None:
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.buffer.clear()
            unfinished.hold(self, 0)
            await self._send_wsproto_event(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
            return
        unfinished.hold(self, 0 if event.message_finished else self.buffer.length)
        if event.message_finished:
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _accept(self, message: dict) -> None:
        # Compression doubles the memory of a socket, for messages that are mostly short.
        # https://github.com/pgjones/hypercorn/issues/307
        self.handshake.extensions = None
        await super()._accept(message)

    def give_up_message(self) -> None:
        self.buffer.clear()
        close = self._send_wsproto_event(CloseConnection(*TRY_AGAIN_LATER))
        self.giving_up = asyncio.create_task(close)

    async def _send_wsproto_event(self, event) -> None:
        if isinstance(event, CloseConnection):
            self.leaving = True
        await super()._send_wsproto_event(event)

    async def _send_pings(self) -> None:
        interval, patience = contract.WS_PING_INTERVAL, contract.WS_PING_TIMEOUT
        while not self.closed:
            silence = self.context.time() - self.heard
            if silence >= interval + patience:
                reason = CloseReason.INTERNAL_ERROR
                await self._send_wsproto_event(CloseConnection(reason, "keepalive ping timeout"))
                await self.send(StreamClosed(stream_id=self.stream_id))
            elif silence >= interval:
                await self._send_wsproto_event(Ping())
                await self.sleep(interval + patience - silence)
            else:
                await self.sleep(interval - silence)

    async def sleep(self, seconds: float) -> None:
        """Wait, but not for longer than the socket is there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gone.wait()


class Connection(TCPServer):
    """A connection that waits, when the process is to end, for a request that is on its way."""

    async def _idle_timeout(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.keep_alive_timeout):
                await self.context.terminated.wait()
                await asyncio.sleep(ON_ITS_WAY)
        await asyncio.shield(self._initiate_server_close())


original_worker_serve = one.worker_serve
original_join_exited = run._join_exited


async def worker_serve(*args, shutdown_trigger=None, **options) -> None:
    """Let SIGTERM stop each process, by a handler that the drain can be put before.

    Args:
        args: hypercorn's own, and `options` too.
        shutdown_trigger: waits until the parent wants this process to stop, if it has a parent.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))

    async def obey() -> None:
        await shutdown_trigger()
        signal.raise_signal(signal.SIGTERM)

    if shutdown_trigger:
        obedience = asyncio.create_task(obey())
        obedience.add_done_callback(asyncio.Task.result)  # raises what ended it, to be logged
    await original_worker_serve(*args, shutdown_trigger=stop.wait, **options)


failed = []


def join_exited(processes: list) -> int:
    """Return the exit status of the first process that failed, in the end too. hypercorn says 0."""
    if status := original_join_exited(processes):
        failed.append(status)
    return failed[0] if failed else 0


config.Config.include_server_header = False
config.Config.logger_class = Logger
config.Config.websocket_max_message_size = contract.WS_MAX_MESSAGE_BYTES
h11.WSStream = Socket
one.TCPServer = Connection
one.worker_serve = worker_serve
run._join_exited = join_exited

if __name__ == "__main__":
    sys.exit(__main__.main())
