"""Docker for the tests that boot something: the machine's own, or one made for the purpose."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from secrets import token_urlsafe

import pytest

from tests.baking import bake, combinations, name
from tests.lab import engine as engines
from tests.lab import host, images
from tests.stack import Stack, base_images, free_port


@pytest.fixture(scope="session")
def aloud(pytestconfig) -> Callable[[], AbstractContextManager]:
    """Let long steps show that they live, where pytest would keep what they print to itself."""
    return pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled


@pytest.fixture(scope="session")
def engine(aloud) -> Iterator[None]:
    """A Docker Engine, in the environment of these tests and of what they run."""
    with aloud():
        engine = engines.ensure()
    before = dict(os.environ)
    os.environ.update(engine.env)
    yield
    os.environ.clear()
    os.environ.update(before)
    with aloud():
        engines.stop(engine)


@pytest.fixture(scope="session", params=combinations(), ids=name)
def combination(request) -> dict[str, str]:
    """Every combination of choices on offer."""
    return request.param


@pytest.fixture(scope="session")
def project(combination, tmp_path_factory) -> Path:
    """A project baked from a combination. Look, but do not write."""
    return bake(tmp_path_factory.mktemp("bake"), **combination)


@contextmanager
def booted(stack: Stack, aloud: Callable[[], AbstractContextManager]) -> Iterator[Stack]:
    """Start a stack from nothing, base images and all; remove it in the end."""
    with aloud():
        images.ensure(base_images(stack.project))
    try:
        with aloud(), host.step(f"booting {stack.project.name}"):
            stack.up()
        yield stack
    finally:
        stack.down()


def deploy(project: Path, **settings: str) -> None:
    """Make .env for production as the project's README says, with some settings changed."""
    text = (project / ".env.example").read_text()
    for key, value in settings.items():
        text, found = re.subn(f"^#?{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert found == 1, key
    (project / ".env").write_text(text)


@pytest.fixture(scope="session")
def stack(engine, aloud, combination, tmp_path_factory) -> Iterator[Stack]:
    """The production stack, started from nothing; with two users, ada and bob, and root."""
    slug = f"booted_{combination['asgi_server']}"
    project = bake(tmp_path_factory.mktemp("boot"), project_slug=slug, **combination)
    # As on machines that give a process few open files unless it asks for more.
    few = {"ulimits": {"nofile": {"soft": 1024, "hard": 4096}}}
    (project / "few.yaml").write_text(json.dumps({"services": {"app": few, "nginx": few}}))
    port = free_port()  # the default one is left to the development stack
    deploy(
        project,
        HTTP_PORT=str(port),
        COMPOSE_FILE="compose.yaml:few.yaml",
        SECRET_KEY=token_urlsafe(50),
        ALLOWED_HOSTS="localhost",
        REQUEST_TIMEOUT="4",  # so that a test need not wait for a minute
    )
    with booted(Stack(project, port), aloud) as stack:
        stack.add_user("ada")
        stack.add_user("bob")
        stack.add_user("root", staff=True)
        yield stack
