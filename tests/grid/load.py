"""Load: many clients of one stream, a publisher, page requests, and the figures of their run."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from math import ceil
from threading import Thread
from typing import TypeVar

import httpx
from websockets import ConnectionClosed, WebSocketException
from websockets.asyncio.client import ClientConnection, connect

from tests.stack import Stack, eventually

T = TypeVar("T")
Position = tuple[int, int]
"""Epoch and seq. A later epoch is a greater number."""

# Reconnect delays in seconds, as in realtime/static/realtime/client.js; its CAP, 20, is shortened
# for the tests.
BASE, CAP, STABLE = 0.5, 2, 5
FINAL = range(4400, 4500)
BUT_NOT_FINAL = {4408, 4429}
CONCURRENT_HANDSHAKES = 50


class Client:
    """A client that reconnects by itself and recovers from its last stream position.

    Args:
        stack: the server.
        stream: its stream, without the prefix `load.`.
    """

    def __init__(self, stack: Stack, stream: str) -> None:
        self.url = f"ws://localhost:{stack.port}/ws/extra/load/{stream}/"
        self.options = {"origin": stack.url, "host": "127.0.0.1", "port": stack.port}
        self.socket: ClientConnection | None = None
        self.position: Position | None = None
        self.after_ms: int | None = None
        self.closed_at: float | None = None
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        self.may_read = asyncio.Event()
        self.may_read.set()
        # What it has received.
        self.numbers: list[int] = []
        self.skipped: list[tuple[Position, Position]] = []
        self.absences: list[float] = []
        self.codes: list[int] = []

    async def run(self) -> None:
        """Connect, and reconnect until a close code is final."""
        attempt = 0
        while not (self.codes and self.codes[-1] in FINAL and self.codes[-1] not in BUT_NOT_FINAL):
            if not self.may_connect.is_set():
                await self.may_connect.wait()
                self.closed_at = time.monotonic()  # it was disconnected on purpose until now
            opened = self.after_ms = None
            try:
                query = "" if self.position is None else self.query()
                async with connect(
                    self.url + query,
                    **self.options,
                    compression=None,
                    ping_interval=None,
                    max_size=None,
                    max_queue=4,
                    proxy=None,
                ) as self.socket:
                    opened = time.monotonic()
                    await self.read()
            except ConnectionClosed as closed:
                self.codes.append(closed.rcvd.code if closed.rcvd else 1006)
            except (OSError, WebSocketException):
                pass  # the connection or the handshake was refused
            self.socket = None
            now = time.monotonic()
            if opened and self.closed_at is None:
                self.closed_at = now
            if opened and now - opened >= STABLE:
                attempt = 0
            ceiling = min(CAP, BASE * 2**attempt)
            attempt += 1
            wait = random.uniform(0, ceiling) if self.after_ms is None else self.after_ms / 1000
            await asyncio.sleep(wait)

    def query(self) -> str:
        """Return the query with its stream position."""
        stream = self.url.rstrip("/").rpartition("/")[2]
        return "?position=load.{}:{}-{}".format(stream, *self.position)

    async def read(self) -> None:
        """Receive messages. Raises websockets.ConnectionClosed in the end."""
        while True:
            await self.may_read.wait()
            message = json.loads(await self.socket.recv())
            match message["type"]:
                case "message":
                    self.numbers.append(message["data"]["number"])
                    self.position = message["epoch"], message["seq"]
                case "subscribed":
                    self.subscribed((message["epoch"], message["seq"]), message["recovered"])
                case "reconnect":
                    self.after_ms = message["after_ms"]

    def subscribed(self, position: Position, recovered: bool) -> None:
        """Record the position of the subscription, and the range that was not recovered."""
        if self.position and not recovered:
            self.skipped.append((self.position, position))
        self.position = position
        if self.closed_at is not None:
            self.absences.append(time.monotonic() - self.closed_at)
            self.closed_at = None

    @property
    def is_subscribed(self) -> bool:
        """Whether it is connected and subscribed."""
        return self.socket is not None and self.closed_at is None

    def is_at(self, position: Position) -> bool:
        """Whether it is connected and has reached this position."""
        return self.is_subscribed and self.position is not None and self.position >= position


@dataclass(frozen=True)
class Figures:
    """The figures of one window."""

    published: int
    delivered: int
    lost: int
    duplicated: int
    out_of_order: int
    not_recovered: int
    """The number of times that a client received `recovered: false`."""
    absences: list[float]
    """Seconds from each close until the client was subscribed again."""
    silent: int
    """Clients that have not reached the end of the stream."""
    refused: Counter[int]
    """Publications by status, other than 200; 0 is no response."""
    failed: Counter[int]
    """Page requests by status, other than 200; 0 is no response."""

    def percentile(self, percent: int) -> float:
        """Return a percentile of `absences`; 0 if there were none."""
        absences = sorted(self.absences)
        return absences[ceil(len(absences) * percent / 100) - 1] if absences else 0

    @property
    def server_errors(self) -> int:
        """The number of publications and page requests that were answered 5xx."""
        return sum(count for status, count in (self.refused + self.failed).items() if status >= 500)

    @property
    def complete(self) -> bool:
        """Whether every client is connected and received every message once, in order."""
        return not (self.lost or self.duplicated or self.out_of_order or self.silent)

    def row(self) -> dict[str, str]:
        """Return the formatted figures by column."""
        return {
            "published": f"{self.published:,}",
            "delivered": f"{self.delivered:,}",
            "lost": f"{self.lost:,}",
            "duplicated": f"{self.duplicated:,}",
            "out of order": f"{self.out_of_order:,}",
            "not recovered": f"{self.not_recovered:,}",
            "s to reconnect, p50": f"{self.percentile(50):.2f}",
            "p95": f"{self.percentile(95):.2f}",
            "p99": f"{self.percentile(99):.2f}",
            "5xx": f"{self.server_errors:,}",
        }

    def __str__(self) -> str:
        row = ", ".join(f"{name} {value}" for name, value in self.row().items())
        refused, failed = dict(self.refused), dict(self.failed)
        return f"{row}; silent {self.silent}, publications refused {refused}, pages {failed}"


@dataclass
class Window:
    """The period of one fault. Its figures are set when it is over."""

    first: int
    """The first number published in it."""
    numbers: list[int]
    """The count of each client's `numbers` before it; `skipped` and `absences` likewise."""
    skipped: list[int]
    absences: list[int]
    figures: Figures | None = None


class Load:
    """Clients of one stream, and a publisher, in an event loop of their own, in a thread.

    Args:
        stack: the server.
        stream: the stream, without the prefix `load.`.
        count: the number of clients.
        every: seconds from one message to the next, in a window.
        padding: additional bytes of each message.
    """

    def __init__(
        self, stack: Stack, stream: str, count: int, *, every: float = 0.2, padding: int = 0
    ) -> None:
        self.stack = stack
        self.stream = stream
        self.every = every
        self.padding = "x" * padding
        self.clients = [Client(stack, stream) for _ in range(count)]
        # The stream position of each number, as the publisher received it.
        self.acknowledged: list[Position] = []
        self.refused: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self.loop.run_forever, daemon=True)
        self.tasks: set[asyncio.Task] = set()

    def __enter__(self) -> "Load":
        self.thread.start()
        try:
            self.do(self.open())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.do(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def do(self, coroutine: Coroutine[None, None, T]) -> T:
        """Run a coroutine in the load's event loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def open(self) -> None:
        """Open the sockets in batches. Raises TimeoutError if that takes more than 60 s."""
        async with asyncio.timeout(60):
            for first in range(0, len(self.clients), CONCURRENT_HANDSHAKES):
                batch = self.clients[first : first + CONCURRENT_HANDSHAKES]
                self.tasks |= {asyncio.create_task(client.run()) for client in batch}
                while not all(client.position for client in batch):  # noqa: ASYNC110 - of many tasks
                    await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Close all sockets. Raises the exception of a client that failed."""
        for task in self.tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    @contextmanager
    def window(self, seconds: float = 40) -> Iterator[Window]:
        """Publish and request pages; then wait until all clients have reached the end.

        Args:
            seconds: the time limit for that. Clients that have not reached it count as silent.
        """
        window = Window(
            len(self.acknowledged),
            *(
                [len(getattr(client, name)) for client in self.clients]
                for name in ("numbers", "skipped", "absences")
            ),
        )
        self.refused.clear()
        self.failed.clear()
        stop = asyncio.Event()
        running = asyncio.run_coroutine_threadsafe(self.generate(stop), self.loop)
        try:
            yield window
        finally:
            self.loop.call_soon_threadsafe(stop.set)
            running.result(timeout=120)
        self.do(self.converge(seconds))
        window.figures = self.figures(window)

    def wait_for_messages(self, count: int) -> None:
        """Wait until the publisher has published `count` more messages."""
        until = len(self.acknowledged) + count
        eventually(f"{count} more messages", lambda: len(self.acknowledged) >= until, seconds=120)

    def wait_until_subscribed(self) -> None:
        """Wait until all clients are connected and subscribed."""
        eventually("all subscribed", lambda: all(client.is_subscribed for client in self.clients))

    async def generate(self, stop: asyncio.Event) -> None:
        """Publish and request pages until `stop` is set."""
        options = {"base_url": self.stack.url, "timeout": 10}
        async with httpx.AsyncClient(**options) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.publish(client, stop))
            tasks.create_task(self.browse(client, stop))

    async def publish(self, client: httpx.AsyncClient, stop: asyncio.Event) -> None:
        """Publish one number after the other, each again until it is acknowledged."""
        path = f"/extra/publish/{self.stream}/"
        while not stop.is_set():
            started = time.monotonic()
            message = {"number": len(self.acknowledged), "padding": self.padding}
            status, answer = await request(client, "POST", path, json=message)
            while status != 200:
                self.refused[status] += 1
                await asyncio.sleep(self.every)
                status, answer = await request(client, "POST", path, json=message)
            self.acknowledged.append((answer["epoch"], answer["seq"]))
            await asyncio.sleep(started + self.every - time.monotonic())

    async def browse(self, client: httpx.AsyncClient, stop: asyncio.Event) -> None:
        """Request a page and post a body, every 0.4 s."""
        while not stop.is_set():
            for method, path in (("GET", "/"), ("POST", "/extra/who/")):
                status, _ = await request(client, method, path)
                if status != 200:
                    self.failed[status] += 1
                await asyncio.sleep(0.2)

    async def converge(self, seconds: float) -> None:
        """Wait until all clients have all messages, and 1 s more for duplicates."""
        deadline = time.monotonic() + seconds
        end = self.acknowledged[-1] if self.acknowledged else (0, 0)
        while time.monotonic() < deadline and not self.are_at(end):  # noqa: ASYNC110 - of many tasks
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    def are_at(self, position: Position) -> bool:
        """Whether all clients have reached this position."""
        return all(client.is_at(position) for client in self.clients)

    def figures(self, window: Window) -> Figures:
        """Return the figures of a window."""
        delivered = lost = duplicated = out_of_order = not_recovered = 0
        absences = []
        starts = zip(self.clients, window.numbers, window.skipped, window.absences, strict=True)
        for client, known, skips, absent in starts:
            got = client.numbers[known:]
            skipped = client.skipped[skips:]
            delivered += len(got)
            duplicated += len(got) - len(set(got))
            # A number is out of order if a greater one came before. Duplicates count once.
            highest = accumulate([window.first - 1, *dict.fromkeys(got)], max)
            out_of_order += sum(
                number <= most for number, most in zip(dict.fromkeys(got), highest, strict=False)
            )
            missing = set(range(window.first, len(self.acknowledged))).difference(got)
            lost += sum(
                not any(after < self.acknowledged[number] <= until for after, until in skipped)
                for number in missing
            )
            not_recovered += len(skipped)
            absences += client.absences[absent:]
        return Figures(
            len(self.acknowledged) - window.first,
            delivered,
            lost,
            duplicated,
            out_of_order,
            not_recovered,
            absences,
            sum(not client.is_at(self.acknowledged[-1]) for client in self.clients),
            self.refused.copy(),
            self.failed.copy(),
        )

    def disconnect(self) -> None:
        """Close all sockets, without a reconnect."""
        self.do(self.close())

    async def close(self) -> None:
        for client in self.clients:
            client.may_connect.clear()
        sockets = [client.socket for client in self.clients if client.socket]
        await asyncio.gather(*(socket.close() for socket in sockets))

    def reconnect(self) -> None:
        """Let the clients reconnect."""
        for client in self.clients:
            self.loop.call_soon_threadsafe(client.may_connect.set)

    def rebalance(self) -> None:
        """Reconnect all clients: after restarts, most are on the replica that was up."""
        self.disconnect()
        self.reconnect()
        self.do(self.converge(20))

    def stop_reading(self) -> None:
        """Stop reading from all sockets."""
        for client in self.clients:
            self.loop.call_soon_threadsafe(client.may_read.clear)

    def resume_reading(self) -> None:
        """Read again."""
        for client in self.clients:
            self.loop.call_soon_threadsafe(client.may_read.set)


async def request(
    client: httpx.AsyncClient, method: str, path: str, **options: object
) -> tuple[int, dict]:
    """Return the status of a response, 0 if there is none, and its content if that is JSON."""
    try:
        answer = await client.request(method, path, **options)
    except httpx.TransportError:
        return 0, {}
    is_json = answer.headers.get("content-type") == "application/json"
    return answer.status_code, answer.json() if is_json else {}
