"""A toy ASGI server: GET requests, one for each connection, and WebSockets. By h11 and wsproto."""

import asyncio
import signal
import sys

import h11
from django.utils.module_loading import import_string
from serve.worker_common import configure_logging
from wsproto import ConnectionType, WSConnection, events

READ_BYTES = 65_536


class Connection:
    """One connection: an ASGI application's `receive` and `send` over a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.http = h11.Connection(h11.SERVER)
        self.websocket = WSConnection(ConnectionType.SERVER)
        self.incoming = [{"type": "http.request"}]

    async def run(self, application) -> None:
        """Read a request and call the application."""
        while (request := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.reader.read(READ_BYTES))
        if isinstance(request, h11.Request):
            await application(self.scope(request), self.receive, self.send)
        self.writer.close()

    def scope(self, request: h11.Request) -> dict:
        """Return the ASGI scope of a request, and begin a WebSocket if it asks for one."""
        path, _, query = request.target.partition(b"?")
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1"}
        scope |= {"method": request.method.decode(), "scheme": "http", "path": path.decode()}
        scope |= {"raw_path": path, "query_string": query, "headers": [*request.headers]}
        for key, name in (("client", "peername"), ("server", "sockname")):
            scope[key] = self.writer.get_extra_info(name)
        if dict(request.headers).get(b"upgrade") == b"websocket":
            self.websocket.initiate_upgrade_connection([*request.headers], request.target)
            next(self.websocket.events())  # the request
            self.incoming = [{"type": "websocket.connect"}]
            scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
        return scope

    async def receive(self) -> dict:
        """Return the next message for the application."""
        while not self.incoming:
            data = await self.reader.read(READ_BYTES)
            self.websocket.receive_data(data or None)
            for event in self.websocket.events():
                if isinstance(event, events.TextMessage):
                    self.incoming.append({"type": "websocket.receive", "text": event.data})
                elif isinstance(event, events.CloseConnection):
                    self.incoming.append({"type": "websocket.disconnect", "code": event.code})
        return self.incoming.pop(0)

    async def send(self, message: dict) -> None:
        """Write a message of the application."""
        match message:
            case {"type": "http.response.start"}:
                headers = [*message["headers"], (b"connection", b"close")]
                data = self.http.send(h11.Response(status_code=message["status"], headers=headers))
            case {"type": "http.response.body"}:
                data = self.http.send(h11.Data(data=message.get("body", b"")))
                if not message.get("more_body"):
                    data += self.http.send(h11.EndOfMessage())
            case {"type": "websocket.accept"}:
                data = self.websocket.send(events.AcceptConnection())
            case {"type": "websocket.send"}:
                data = self.websocket.send(events.TextMessage(message["text"]))
            case {"type": "websocket.close"}:
                data = self.websocket.send(events.CloseConnection(message["code"]))
        self.writer.write(data)
        await self.writer.drain()


async def serve(application, host: str, port: int) -> None:
    """Serve until SIGTERM, within the application's lifespan."""
    stop, messages = asyncio.Event(), asyncio.Queue()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop.set))

    async def ignore(message: dict) -> None:
        pass

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    lifespan = asyncio.ensure_future(application(scope, messages.get, ignore))
    await messages.put({"type": "lifespan.startup"})
    async with await asyncio.start_server(
        lambda reader, writer: Connection(reader, writer).run(application), host, port
    ):
        await stop.wait()
        await messages.put({"type": "lifespan.shutdown"})
        await lifespan


if __name__ == "__main__":
    configure_logging()
    asyncio.run(serve(import_string(sys.argv[1].replace(":", ".")), sys.argv[2], int(sys.argv[3])))
