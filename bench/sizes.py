"""Measure the time and the size of bakes, first starts and deploys: `make bench`.

Medians of several rounds. Figures of different machines cannot be compared.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import docker
import httpx
from docker.models.images import Image

from tests.baking import bake
from tests.docker import engine, images
from tests.stack import Stack, base_images

ROUNDS = 5


def seconds(step: Callable[[], object]) -> float:
    """Return the seconds that a step takes."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def median(what: str, step: Callable[[], float]) -> float:
    """Return the median of a measurement over all rounds."""
    print(f"bench: {what}", file=sys.stderr)
    return statistics.median(step() for _ in range(ROUNDS))


def layers(image: Image) -> dict[str, int]:
    """Return the sizes in bytes of an image's top layers, down to the first without files."""
    # Newest first. The history has entries of size 0 for instructions that made no layer.
    sizes = [entry["Size"] for entry in image.history() if entry["Size"]]
    return dict(zip(reversed(image.attrs["RootFS"]["Layers"]), sizes, strict=False))


def first_page(stack: Stack) -> float:
    """Return the seconds from `docker compose up`, with empty volumes, to the first page."""
    stack.compose("down", "--volumes")
    started = time.perf_counter()
    stack.compose("up", "--detach")
    while True:
        try:
            if httpx.get(stack.url).status_code == 200:
                return time.perf_counter() - started
        except httpx.TransportError:
            time.sleep(0.05)


def rebuild(stack: Stack) -> tuple[float, int]:
    """Return the seconds that a build takes after a one-line edit, and the bytes of new layers."""
    name = f"{stack.project.name}-app"
    before = docker.from_env().images.get(name)
    views = stack.project / "rooms" / "views.py"
    views.write_text(views.read_text() + f"\n# edited at {time.time()}\n")
    took = seconds(lambda: stack.compose("build", "--quiet"))
    after = docker.from_env().images.get(name)
    known = set(before.attrs["RootFS"]["Layers"])
    return took, sum(size for digest, size in layers(after).items() if digest not in known)


def measure() -> list[tuple[str, str]]:
    """Return the name and the value of each figure."""
    rows = []
    with TemporaryDirectory() as folder:
        places = iter(range(ROUNDS))

        def bake_once() -> float:
            place = Path(folder) / str(next(places))
            return seconds(lambda: bake(place))

        rows.append(("bake", f"{median('bake', bake_once):.2f} s"))
        settings = {"ALLOWED_HOSTS": "localhost"}
        project = bake(Path(folder) / "stack", project_slug="measured")
        stack = Stack(project, settings=settings)
        stack.configure()
        images.ensure(base_images(stack.project))
        try:
            stack.compose("build", "--quiet")
            rows.append(("image over its base", f"{stack.image_bytes() / 1e6:.1f} MB"))
            waited = median("empty volumes to the first page", lambda: first_page(stack))
            rows.append(("empty volumes to the first migrated page", f"{waited:.1f} s"))
            rebuilt = [rebuild(stack) for _ in range(ROUNDS)]
            rows.append(
                ("build after a one-line edit", f"{statistics.median(t for t, _ in rebuilt):.1f} s")
            )
            shipped = statistics.median(size for _, size in rebuilt) / 1e6
            rows.append(("new layers after it", f"{shipped:.2f} MB"))
        finally:
            stack.down()
    return rows


def main() -> None:
    """Print a table of the figures."""
    found = engine.ensure()
    os.environ.update(found.env)
    try:
        for what, figure in measure():
            print(f"| {what} | {figure} |")
    finally:
        engine.stop(found)


if __name__ == "__main__":
    main()
