"""daphne's command line, with what it lacks; and supervisord's, for several processes."""
# ruff: noqa: N802, N803 (Twisted's names)

# First, because it installs Twisted's reactor.
from daphne import cli, server  # type: ignore[import-untyped]  # isort: skip

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

from asgiref.typing import ASGISendEvent
from daphne import http_protocol, ws_protocol
from supervisor import (  # type: ignore[import-untyped]
    events,
    loggers,
    options,
    states,
    supervisord,
)
from twisted.internet import defer, endpoints, error, reactor
from twisted.internet.interfaces import IPushProducer
from twisted.python import failure
from zope.interface import implementer  # type: ignore[import-untyped]

from serve import conf
from serve.partial_messages import TRY_AGAIN_LATER, partial_messages
from serve.server import TESTED_VERSIONS
from serve.versions import require_versions
from serve.worker_common import (
    IN_FLIGHT_SECONDS,
    STARTUP_FAILURE,
    configure_logging,
    import_application,
)

require_versions(TESTED_VERSIONS)


@implementer(IPushProducer)
class BackpressureProducer:
    """Tells the application when it may send: `writable` is set while the peer reads fast enough.

    Symptom: without a producer, all that is sent to a slow reader waits in memory.
    https://github.com/django/daphne/issues/170
    https://docs.twisted.org/en/stable/core/howto/producers.html
    """

    def __init__(self) -> None:
        self.writable = asyncio.Event()
        self.writable.set()

    def pauseProducing(self) -> None:
        self.writable.clear()

    def resumeProducing(self) -> None:
        self.writable.set()

    def stopProducing(self) -> None:
        self.writable.set()


class PatchedWebRequest(http_protocol.WebRequest):  # type: ignore[misc]
    """Make a response wait for a slow reader. https://github.com/django/daphne/issues/170"""

    backpressure: BackpressureProducer | None = None

    def handle_reply(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and not self.finished and self.channel:
            self.backpressure = BackpressureProducer()
            self.registerProducer(self.backpressure, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.backpressure:
            self.unregisterProducer()
        super().finish()


class PatchedWebSocketProtocol(ws_protocol.WebSocketProtocol):  # type: ignore[misc]
    """Wait for a slow reader, and send all that ASGI lets an application send.

    Symptoms, in daphne's WebSocketProtocol: no back-pressure
    (https://github.com/django/daphne/issues/170); empty messages are not sent; no reason of a close
    (https://github.com/django/daphne/issues/374), no codes but 1000 and 3000-4999; 403 is the only
    status with which a handshake is refused.
    """

    backpressure: BackpressureProducer | None = None
    denial: Mapping[str, Any] | None = None

    def onOpen(self) -> None:
        super().onOpen()
        self.backpressure = BackpressureProducer()
        self.transport.unregisterProducer()  # the HTTP channel that accepted the handshake
        self.transport.registerProducer(self.backpressure, True)

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        self.held = 0

    def onMessageFrameData(self, payload: bytes) -> None:
        super().onMessageFrameData(payload)
        self.held += sys.getsizeof(payload)  # autobahn keeps each piece, however small, as it came
        partial_messages.hold(self, self.held)

    def onMessageEnd(self) -> None:
        partial_messages.hold(self, 0)
        super().onMessageEnd()

    def abort_message(self) -> None:
        self.frame_data: list[bytes] = []
        self.message_data: list[bytes] = []
        self._fail_connection(*TRY_AGAIN_LATER)

    def connectionLost(self, reason: failure.Failure) -> None:
        partial_messages.hold(self, 0)
        super().connectionLost(reason)
        if self.backpressure:
            self.backpressure.resumeProducing()

    def handle_reply(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"type": "websocket.send"} if self.state == self.STATE_OPEN:
                content = message.get("bytes")
                is_binary = content is not None
                self.sendMessage(content if is_binary else message["text"].encode(), is_binary)
            case {"type": "websocket.send"} if self.state != self.STATE_CONNECTING:
                pass  # the peer has just disconnected, which the next receive() tells
            case {"type": "websocket.close"} if self.state != self.STATE_CONNECTING:
                reason = (message.get("reason") or "").encode()
                self.sendCloseFrame(message.get("code") or 1000, reason)
            case {"type": "websocket.http.response.start"}:
                self.denial = message
            case {"type": "websocket.http.response.body"}:
                if not message.get("more_body"):
                    self.serverReject()
            case _:
                super().handle_reply(message)

    def failHandshake(
        self, reason: str, code: int = 400, headers: list[tuple[str, str]] | None = None
    ) -> None:
        if self.denial:
            code, reason = self.denial["status"], "Denied"
            headers = [(k.decode(), v.decode()) for k, v in self.denial.get("headers", ())]
        super().failHandshake(reason, code, headers)


class PatchedWebSocketFactory(ws_protocol.WebSocketFactory):  # type: ignore[misc]
    """Send a close frame with the code for a protocol error, and then disconnect.

    Symptom: autobahn drops the connection at once (failByDrop).
    """

    protocol = PatchedWebSocketProtocol

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Seconds for the peer's close frame, which may stand behind much unread data.
        self.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=10)


class PatchedHTTPFactory(http_protocol.HTTPFactory):  # type: ignore[misc]
    """Keep idle connections for KEEPALIVE_TIMEOUT, for which daphne has no option."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.timeOut = conf.settings().KEEPALIVE_TIMEOUT


class PatchedServer(server.Server):  # type: ignore[misc]
    """Send the lifespan events, and wait for open requests before stopping.

    Symptoms, in daphne's Server: no lifespan (https://github.com/django/daphne/issues/264); a stop
    cancels all requests and cuts all WebSockets at once.
    """

    def run(self) -> None:
        self.ports: list[Any] = []
        self.events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        reactor.callLater(0, self.start)  # type: ignore[arg-type]
        super().run()

    def start(self) -> None:
        self.events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self.lifespan = asyncio.ensure_future(self.application(scope, self.events.get, ignore))

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        super().listen_success(port)

    def create_application(
        self, protocol: Any, scope: dict[str, Any]
    ) -> asyncio.Queue[dict[str, Any]] | None:
        if scope["type"] == "websocket":
            scope["extensions"] = {"websocket.http.response": {}}
        queue: asyncio.Queue[dict[str, Any]] | None = super().create_application(protocol, scope)
        return queue

    async def handle_reply(self, protocol: Any, message: Mapping[str, Any]) -> None:
        if protocol.backpressure:
            # First, because a close that is not read soon would become a lost connection.
            await protocol.backpressure.writable.wait()
        await super().handle_reply(protocol, message)

    def kill_all_applications(self) -> defer.Deferred[None]:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self.finish()))

    async def finish(self) -> None:
        """Stop listening, and wait for open requests, REQUEST_TIMEOUT at most."""
        for port in self.ports:
            # Accept what the kernel has queued, then close at once: stopListening() closes a moment
            # later, and resets the connections that came meanwhile.
            port.stopReading()
            port.doRead()
            port.connectionLost(failure.Failure(error.ConnectionDone()))  # type: ignore[no-untyped-call]
        await asyncio.sleep(IN_FLIGHT_SECONDS)
        for protocol in self.connections:
            if isinstance(protocol, PatchedWebSocketProtocol):
                protocol.sendCloseFrame(1012)
        tasks = [
            connection["application_instance"]
            for connection in self.connections.values()
            if "application_instance" in connection
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=conf.settings().REQUEST_TIMEOUT)
        self.events.put_nowait({"type": "lifespan.shutdown"})
        await self.lifespan


async def ignore(message: ASGISendEvent) -> None:
    """Discard a message: lifespan's need no answer."""


class LoggingHandler(loggers.Handler):  # type: ignore[misc]
    """Pass supervisord's log records to Python's logging. Their levels have the same numbers."""

    def emit(self, record: loggers.LogRecord) -> None:
        logging.getLogger("supervisord").log(record.level, record.asdict()["message"].rstrip())

    def close(self) -> None:
        pass


class PatchedServerOptions(options.ServerOptions):  # type: ignore[misc]
    """supervisord's options, and those that it lacks: its logger, and when to give up.

    Symptom: supervisord starts a process that cannot import the application again and again.
    """

    status = 0

    def make_logger(self) -> None:
        super().make_logger()
        self.logger.addHandler(LoggingHandler())

    def setsignals(self) -> None:
        super().setsignals()
        events.subscribe(events.ProcessStateExitedEvent, self.stop_on_startup_failure)

    def stop_on_startup_failure(self, event: events.ProcessStateEvent) -> None:
        if event.process.exitstatus == STARTUP_FAILURE:
            self.status = STARTUP_FAILURE
            self.mood = states.SupervisorStates.SHUTDOWN


def supervise(arguments: list[str]) -> int:
    """Run supervisord. Return its exit status: STARTUP_FAILURE if a process could not start."""
    settings = PatchedServerOptions()
    settings.realize(arguments)
    settings.first, settings.test = True, False
    supervisord.go(settings)
    return settings.status


def serve() -> int:
    """Run daphne. Exit with STARTUP_FAILURE if the application cannot be imported."""
    import_application()
    cli.CommandLineInterface.entrypoint()
    return 0


def endpoint(reactor: Any, description: str) -> Any:
    """Return where to listen.

    Symptom: Twisted's `fd:` endpoint has to be told the family of an inherited socket, and daphne's
    --fd always says IPv4: a Unix socket fails.
    """
    if description != "fd:fileno=0":
        return endpoints.serverFromString(reactor, description)  # type: ignore[no-untyped-call]
    with socket.socket(fileno=os.dup(0)) as inherited:
        family = inherited.family
    return endpoints.AdoptedStreamServerEndpoint(reactor, 0, family)  # type: ignore[no-untyped-call]


cli.CommandLineInterface.server_class = PatchedServer
server.HTTPFactory = PatchedHTTPFactory
server.WebSocketFactory = PatchedWebSocketFactory
server.serverFromString = endpoint
http_protocol.WebRequest = PatchedWebRequest

if __name__ == "__main__":
    configure_logging()
    sys.exit(supervise(sys.argv[2:]) if sys.argv[1] == "supervise" else serve())
