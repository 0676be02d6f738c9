"""daphne's own command line, with what it lacks; and supervisord's, for several processes."""

# First, because it installs Twisted's reactor.
from daphne import cli, server  # isort: skip

import asyncio
import importlib
import logging.config
import os
import socket
import sys

from daphne import http_protocol, ws_protocol
from supervisor import events, loggers, options, states, supervisord
from twisted.internet import defer, endpoints, error, reactor
from twisted.internet.interfaces import IPushProducer
from twisted.python import failure
from zope.interface import implementer

from config import contract
from config.logs import LOGGING
from serve.unfinished import TRY_AGAIN_LATER, unfinished

# What a request takes from the connection to the first byte, with time to spare.
ON_ITS_WAY = 0.5  # seconds
# The exit status of a process that would fail in the same way if it was started again.
STARTUP_FAILURE = 3


@implementer(IPushProducer)
class Flow:
    """Makes the application wait while the peer reads more slowly than it sends.

    Otherwise all that it sends would wait in memory.
    https://docs.twisted.org/en/stable/core/howto/producers.html
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pauseProducing(self) -> None:
        self.open.clear()

    def resumeProducing(self) -> None:
        self.open.set()

    stopProducing = resumeProducing


class Request(http_protocol.WebRequest):
    """A request whose response waits for a slow reader."""

    flow = None

    def handle_reply(self, message: dict) -> None:
        if message["type"] == "http.response.start" and not self.finished and self.channel:
            self.flow = Flow()
            self.registerProducer(self.flow, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.flow:
            self.unregisterProducer()
        super().finish()


class Socket(ws_protocol.WebSocketProtocol):
    """A WebSocket that waits for a slow reader, and takes all that ASGI lets an application send.

    daphne itself leaves out empty messages and the reason of a close, closes with no codes but 1000
    and 3000-4999, and refuses with nothing but 403.
    """

    flow = None
    denial: dict = {}

    def onOpen(self) -> None:
        super().onOpen()
        self.flow = Flow()
        self.transport.unregisterProducer()  # the HTTP channel that this was
        self.transport.registerProducer(self.flow, True)

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        self.held = 0

    def onMessageFrameData(self, payload: bytes) -> None:
        super().onMessageFrameData(payload)
        self.held += sys.getsizeof(payload)  # each piece, however small, waits as it came
        unfinished.hold(self, self.held)

    def onMessageEnd(self) -> None:
        unfinished.hold(self, 0)
        super().onMessageEnd()

    def give_up_message(self) -> None:
        self.frame_data, self.message_data = [], []
        self._fail_connection(*TRY_AGAIN_LATER)

    def connectionLost(self, reason: failure.Failure) -> None:
        unfinished.hold(self, 0)
        super().connectionLost(reason)
        if self.flow:
            self.flow.resumeProducing()

    def handle_reply(self, message: dict) -> None:
        match message:
            case {"type": "websocket.send"} if self.state == self.STATE_OPEN:
                content = message.get("bytes")
                text = message.get("text")
                self.sendMessage(text.encode() if content is None else content, content is not None)
            case {"type": "websocket.send"} if self.state != self.STATE_CONNECTING:
                pass  # the peer has just left, which the application is told next
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

    def failHandshake(self, reason: str, code: int = 400, headers=None) -> None:
        if self.denial:
            code, reason = self.denial["status"], "Denied"
            headers = [(k.decode(), v.decode()) for k, v in self.denial.get("headers", ())]
        super().failHandshake(reason, code, headers)


class SocketFactory(ws_protocol.WebSocketFactory):
    """Makes sockets that answer what they cannot accept with the code for it, and then hang up."""

    protocol = Socket

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        # Seconds for the answer to a close, which may stand behind much that is yet to be read.
        self.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=10)


class RequestFactory(http_protocol.HTTPFactory):
    """Keeps idle connections for as long as the contract says."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.timeOut = contract.KEEPALIVE_TIMEOUT


class Server(server.Server):
    """Tells the application of the start and the stop, and waits for requests before it stops."""

    def run(self) -> None:
        self.ports = []
        self.events = asyncio.Queue()
        reactor.callLater(0, self.start)
        super().run()

    def start(self) -> None:
        self.events.put_nowait({"type": "lifespan.startup"})
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        self.lifespan = asyncio.ensure_future(self.application(scope, self.events.get, ignore))

    def listen_success(self, port) -> None:
        self.ports.append(port)
        super().listen_success(port)

    def create_application(self, protocol, scope: dict) -> asyncio.Queue:
        if scope["type"] == "websocket":
            scope["extensions"] = {"websocket.http.response": {}}
        return super().create_application(protocol, scope)

    async def handle_reply(self, protocol, message: dict) -> None:
        if protocol.flow:
            # First, because an unread close would soon be a lost connection.
            await protocol.flow.open.wait()
        await super().handle_reply(protocol, message)

    def kill_all_applications(self) -> defer.Deferred:
        return defer.Deferred.fromFuture(asyncio.ensure_future(self.finish()))

    async def finish(self) -> None:
        """Wait for what is under way, but not longer than for the slowest response."""
        for port in self.ports:
            # stopListening() closes it a moment later, and resets who was not accepted by then.
            port.stopReading()
            port.doRead()
            port.connectionLost(failure.Failure(error.ConnectionDone()))
        await asyncio.sleep(ON_ITS_WAY)
        for protocol in self.connections:
            if isinstance(protocol, Socket):
                protocol.sendCloseFrame(1012)
        tasks = [
            connection["application_instance"]
            for connection in self.connections.values()
            if "application_instance" in connection
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=contract.REQUEST_TIMEOUT)
        self.events.put_nowait({"type": "lifespan.shutdown"})
        await self.lifespan


async def ignore(message: dict) -> None:
    """Take a message that needs no answer."""


class ToLogging(loggers.Handler):
    """Logs what supervisord does as the application does; their levels have the same numbers."""

    def emit(self, record: loggers.LogRecord) -> None:
        logging.getLogger("supervisord").log(record.level, record.asdict()["message"].rstrip())

    def close(self) -> None:
        pass


class Options(options.ServerOptions):
    """supervisord's options, and what it has none for: its logger, and when to give up."""

    status = 0

    def make_logger(self) -> None:
        super().make_logger()
        self.logger.addHandler(ToLogging())

    def setsignals(self) -> None:
        super().setsignals()
        events.subscribe(events.ProcessStateExitedEvent, self.give_up)

    def give_up(self, event: events.ProcessStateEvent) -> None:
        if event.process.exitstatus == STARTUP_FAILURE:
            self.status = STARTUP_FAILURE
            self.mood = states.SupervisorStates.SHUTDOWN


def supervise(arguments: list[str]) -> int:
    """Run supervisord. Returns its exit status: STARTUP_FAILURE if a process could not start."""
    settings = Options()
    settings.realize(arguments)
    settings.first, settings.test = True, False
    supervisord.go(settings)
    return settings.status


def serve() -> None:
    """Run daphne. Exits with STARTUP_FAILURE if the application cannot be imported."""
    try:
        importlib.import_module("config.asgi")
    except Exception:
        logging.getLogger("serve").critical("the application cannot be imported", exc_info=True)
        sys.exit(STARTUP_FAILURE)
    cli.CommandLineInterface.entrypoint()


def endpoint(reactor, description: str):
    """Return where to listen. A socket that is inherited may be a Unix one; daphne takes none."""
    if description != "fd:fileno=0":
        return endpoints.serverFromString(reactor, description)
    with socket.socket(fileno=os.dup(0)) as inherited:
        return endpoints.AdoptedStreamServerEndpoint(reactor, 0, inherited.family)


cli.CommandLineInterface.server_class = Server
server.HTTPFactory = RequestFactory
server.WebSocketFactory = SocketFactory
server.serverFromString = endpoint
http_protocol.WebRequest = Request

if __name__ == "__main__":
    logging.config.dictConfig(LOGGING)
    sys.exit(supervise(sys.argv[2:]) if sys.argv[1] == "supervise" else serve())
