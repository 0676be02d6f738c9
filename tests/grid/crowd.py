"""A crowd of sockets that follow one stream, somebody who publishes there, and what came of it."""

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

from tests.stack import Stack

T = TypeVar("T")
Position = tuple[int, int]
"""Epoch and seq. A later epoch is a greater number."""

# As the browser's client has it (realtime/static/realtime/client.js), in seconds; but that one
# waits for up to 20, and a test has less time.
BASE, CAP, STABLE = 0.5, 2, 5
FINAL = range(4400, 4500)
BUT_NOT_FINAL = {4408, 4429}
# How many open a socket at a time, when nobody is to wait.
AT_ONCE = 50


class Follower:
    """One of the crowd: a socket that comes back by itself and says where it was.

    Args:
        stack: what it is a client of.
        stream: what it follows, without the prefix of all streams of crowds.
    """

    def __init__(self, stack: Stack, stream: str) -> None:
        self.url = f"ws://localhost:{stack.port}/ws/extra/crowd/{stream}/"
        self.options = {"origin": stack.url, "host": "127.0.0.1", "port": stack.port}
        self.socket: ClientConnection | None = None
        self.position: Position | None = None
        self.after_ms: int | None = None
        self.closed_at: float | None = None
        self.may_connect = asyncio.Event()
        self.may_connect.set()
        self.may_read = asyncio.Event()
        self.may_read.set()
        # What it has seen
        self.numbers: list[int] = []
        self.skipped: list[tuple[Position, Position]] = []
        self.absences: list[float] = []
        self.codes: list[int] = []

    async def follow(self) -> None:
        """Be connected, again and again, until the application says that it is for nothing."""
        attempt = 0
        while not (self.codes and self.codes[-1] in FINAL and self.codes[-1] not in BUT_NOT_FINAL):
            if not self.may_connect.is_set():
                await self.may_connect.wait()
                self.closed_at = time.monotonic()  # away by its own will until now
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
                pass  # nobody is there, or no socket is to be had
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
        """Return what says where it was."""
        stream = self.url.rstrip("/").rpartition("/")[2]
        return "?position=crowd.{}:{}-{}".format(stream, *self.position)

    async def read(self) -> None:
        """Take what comes. Raises websockets.ConnectionClosed in the end."""
        while True:
            await self.may_read.wait()
            message = json.loads(await self.socket.recv())
            match message["type"]:
                case "message":
                    self.numbers.append(message["data"]["number"])
                    self.position = message["epoch"], message["seq"]
                case "subscribed":
                    self.greeted((message["epoch"], message["seq"]), message["recovered"])
                case "reconnect":
                    self.after_ms = message["after_ms"]

    def greeted(self, position: Position, recovered: bool) -> None:
        """Note where the stream begins for this socket, and what it will never get."""
        if self.position and not recovered:
            self.skipped.append((self.position, position))
        self.position = position
        if self.closed_at is not None:
            self.absences.append(time.monotonic() - self.closed_at)
            self.closed_at = None

    def is_at(self, position: Position) -> bool:
        """Whether it is connected, and has come as far as this."""
        back = self.socket is not None and self.closed_at is None
        return back and self.position is not None and self.position >= position


@dataclass(frozen=True)
class Figures:
    """What came of a time."""

    published: int
    delivered: int
    lost: int
    duplicated: int
    out_of_order: int
    not_recovered: int
    """Sockets, each time that one was told to load the past."""
    absences: list[float]
    """Seconds from each close until the socket followed the stream again."""
    silent: int
    """Sockets that have not come to the end of the stream."""
    refused: Counter[int]
    """Publications that were answered with another status than 200, by that; 0 for no answer."""
    failed: Counter[int]
    """The same for the other requests."""

    def percentile(self, percent: int) -> float:
        """Return how long it took so many of 100 sockets at most to come back; 0 if none had to."""
        absences = sorted(self.absences)
        return absences[ceil(len(absences) * percent / 100) - 1] if absences else 0

    @property
    def server_errors(self) -> int:
        """How many requests of either kind were answered 5xx."""
        return sum(count for status, count in (self.refused + self.failed).items() if status >= 500)

    @property
    def complete(self) -> bool:
        """Whether every socket is there, and got every message once, and in order."""
        return not (self.lost or self.duplicated or self.out_of_order or self.silent)

    def row(self) -> dict[str, str]:
        """Return them as people read them, by their names."""
        return {
            "published": f"{self.published:,}",
            "delivered": f"{self.delivered:,}",
            "lost": f"{self.lost:,}",
            "duplicated": f"{self.duplicated:,}",
            "out of order": f"{self.out_of_order:,}",
            "not recovered": f"{self.not_recovered:,}",
            "s to be back, p50": f"{self.percentile(50):.2f}",
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
    """The time of one fault. Its figures are there when it is over."""

    first: int
    """The number that was published first."""
    numbers: list[int]
    """How many each socket had got before; so the others."""
    skipped: list[int]
    absences: list[int]
    figures: Figures | None = None


class Crowd:
    """Sockets that follow a stream, in an event loop of their own, in a thread.

    Args:
        stack: what they are clients of.
        stream: what they follow.
        count: how many.
        every: seconds from one message to the next, while somebody publishes.
        padding: bytes of each message that mean nothing.
    """

    def __init__(
        self, stack: Stack, stream: str, count: int, *, every: float = 0.2, padding: int = 0
    ) -> None:
        self.stack = stack
        self.stream = stream
        self.every = every
        self.padding = "x" * padding
        self.followers = [Follower(stack, stream) for _ in range(count)]
        # Where each number stands in the stream, which is what the publisher was told.
        self.acknowledged: list[Position] = []
        self.refused: Counter[int] = Counter()
        self.failed: Counter[int] = Counter()
        self.loop = asyncio.new_event_loop()
        self.thread = Thread(target=self.loop.run_forever, daemon=True)
        self.tasks: set[asyncio.Task] = set()

    def __enter__(self) -> "Crowd":
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
        """Return what a coroutine returns that runs in the crowd's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    async def open(self) -> None:
        """Open the sockets, some at a time. Raises TimeoutError if they cannot be had."""
        async with asyncio.timeout(60):
            for first in range(0, len(self.followers), AT_ONCE):
                some = self.followers[first : first + AT_ONCE]
                self.tasks |= {asyncio.create_task(follower.follow()) for follower in some}
                while not all(follower.position for follower in some):
                    await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Close all sockets. Raises what one of them could not make sense of."""
        for task in self.tasks:
            task.cancel()
        for outcome in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    @contextmanager
    def watched(self, patience: float = 40) -> Iterator[Window]:
        """Publish and ask for pages meanwhile; then wait until everybody has come to the end.

        Args:
            patience: seconds for that. Who is not there by then is silent.
        """
        window = Window(
            len(self.acknowledged),
            *(
                [len(getattr(follower, name)) for follower in self.followers]
                for name in ("numbers", "skipped", "absences")
            ),
        )
        self.refused.clear()
        self.failed.clear()
        enough = asyncio.Event()
        busy = asyncio.run_coroutine_threadsafe(self.be_busy(enough), self.loop)
        try:
            yield window
        finally:
            self.loop.call_soon_threadsafe(enough.set)
            busy.result(timeout=120)
        self.do(self.converge(patience))
        window.figures = self.figures(window)

    async def be_busy(self, enough: asyncio.Event) -> None:
        """Publish and ask for pages until that is enough."""
        options = {"base_url": self.stack.url, "timeout": 10}
        async with httpx.AsyncClient(**options) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.publish(client, enough))
            tasks.create_task(self.browse(client, enough))

    async def publish(self, client: httpx.AsyncClient, enough: asyncio.Event) -> None:
        """Publish one number after the other, each until that is acknowledged."""
        path = f"/extra/publish/{self.stream}/"
        while not enough.is_set():
            started = time.monotonic()
            message = {"number": len(self.acknowledged), "padding": self.padding}
            status, answer = await ask(client, "POST", path, json=message)
            while status != 200:
                self.refused[status] += 1
                await asyncio.sleep(self.every)
                status, answer = await ask(client, "POST", path, json=message)
            self.acknowledged.append((answer["epoch"], answer["seq"]))
            await asyncio.sleep(started + self.every - time.monotonic())

    async def browse(self, client: httpx.AsyncClient, enough: asyncio.Event) -> None:
        """Ask for a page, and send something, again and again."""
        while not enough.is_set():
            for method, path in (("GET", "/"), ("POST", "/extra/who/")):
                status, _ = await ask(client, method, path)
                if status != 200:
                    self.failed[status] += 1
                await asyncio.sleep(0.2)

    async def converge(self, patience: float) -> None:
        """Wait until everybody has what was published, and then for what is too much."""
        deadline = time.monotonic() + patience
        end = self.acknowledged[-1] if self.acknowledged else (0, 0)
        while time.monotonic() < deadline and not self.are_at(end):
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    def are_at(self, position: Position) -> bool:
        """Whether everybody has come as far as this."""
        return all(follower.is_at(position) for follower in self.followers)

    def figures(self, window: Window) -> Figures:
        """Return what came of a window."""
        delivered = lost = duplicated = out_of_order = not_recovered = 0
        absences = []
        starts = zip(self.followers, window.numbers, window.skipped, window.absences, strict=True)
        for follower, known, skips, absent in starts:
            got = follower.numbers[known:]
            skipped = follower.skipped[skips:]
            delivered += len(got)
            duplicated += len(got) - len(set(got))
            # Each that is not greater than all before it, if it is not just there twice.
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
            absences += follower.absences[absent:]
        return Figures(
            len(self.acknowledged) - window.first,
            delivered,
            lost,
            duplicated,
            out_of_order,
            not_recovered,
            absences,
            sum(not follower.is_at(self.acknowledged[-1]) for follower in self.followers),
            self.refused.copy(),
            self.failed.copy(),
        )

    def go_away(self) -> None:
        """Have everybody close their sockets, and stay away."""
        self.do(self.close())

    async def close(self) -> None:
        for follower in self.followers:
            follower.may_connect.clear()
        sockets = [follower.socket for follower in self.followers if follower.socket]
        await asyncio.gather(*(socket.close() for socket in sockets))

    def come_back(self) -> None:
        """Let them open their sockets again."""
        for follower in self.followers:
            self.loop.call_soon_threadsafe(follower.may_connect.set)

    def spread(self) -> None:
        """Have all sockets opened anew: restarts leave them where there was a replica to go to."""
        self.go_away()
        self.come_back()
        self.do(self.converge(20))

    def stop_reading(self) -> None:
        """Have everybody leave unread what is sent from now on."""
        for follower in self.followers:
            self.loop.call_soon_threadsafe(follower.may_read.clear)

    def read_again(self) -> None:
        """Let them read again."""
        for follower in self.followers:
            self.loop.call_soon_threadsafe(follower.may_read.set)


async def ask(
    client: httpx.AsyncClient, method: str, path: str, **options: object
) -> tuple[int, dict]:
    """Return the status of an answer, 0 if there is none, and its content, if that is JSON."""
    try:
        answer = await client.request(method, path, **options)
    except httpx.TransportError:
        return 0, {}
    is_json = answer.headers.get("content-type") == "application/json"
    return answer.status_code, answer.json() if is_json else {}
