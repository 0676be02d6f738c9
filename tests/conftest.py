"""Docker for the tests that boot something: the machine's own, or one made for the purpose."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from secrets import token_urlsafe

import pytest

from tests.baking import bake, combinations, name
from tests.lab import engine as engines
from tests.lab import images
from tests.stack import Stack, base_images


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """A Docker Engine, in the environment of these tests and of what they run."""
    engine = engines.ensure()
    before = dict(os.environ)
    os.environ.update(engine.env)
    yield
    os.environ.clear()
    os.environ.update(before)
    engines.stop(engine)


@pytest.fixture(scope="session", params=combinations(), ids=name)
def combination(request) -> dict[str, str]:
    """Every combination of choices on offer."""
    return request.param


@pytest.fixture(scope="session")
def project(combination, tmp_path_factory) -> Path:
    """A project baked from a combination. Look, but do not write."""
    return bake(tmp_path_factory.mktemp("bake"), **combination)


def baked(folder: Path, combination: dict[str, str], slug: str) -> Path:
    """Bake a project that will be booted, and see to it that its base images are there."""
    project = bake(folder, project_slug=slug, **combination)
    images.ensure(base_images(project))
    return project


def deploy(project: Path, **settings: str) -> None:
    """Make .env for production as the project's README says, with some settings changed."""
    text = (project / ".env.example").read_text()
    for key, value in settings.items():
        text, found = re.subn(f"^#?{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert found == 1, key
    (project / ".env").write_text(text)


@pytest.fixture(scope="session")
def stack(engine, combination, tmp_path_factory) -> Iterator[Stack]:
    """The production stack, started from nothing; with two users, ada and bob, and root."""
    project = baked(tmp_path_factory.mktemp("boot"), combination, "booted")
    # As on machines that give a process few open files unless it asks for more.
    few = {"ulimits": {"nofile": {"soft": 1024, "hard": 4096}}}
    (project / "few.yaml").write_text(json.dumps({"services": {"app": few, "nginx": few}}))
    deploy(
        project,
        COMPOSE_FILE="compose.yaml:few.yaml",
        SECRET_KEY=token_urlsafe(50),
        ALLOWED_HOSTS="localhost",
        REQUEST_TIMEOUT="4",  # so that a test need not wait for a minute
    )
    stack = Stack(project)
    try:
        stack.up()
        stack.add_user("ada")
        stack.add_user("bob")
        stack.add_user("root", staff=True)
        yield stack
    finally:
        stack.down()
