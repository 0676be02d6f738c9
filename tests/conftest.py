"""Fixtures: a Docker engine, baked projects, booted stacks; and the choice of combinations."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.baking import PAIRWISE, WHOLE, Combination, bake, combinations, name
from tests.docker import engine as engines
from tests.docker import host, images
from tests.grid.cases import Cases
from tests.stack import Stack, base_images, free_port

EXTRA = Path(__file__).parent / "grid" / "extra"


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="boot every combination of choices")


def pytest_configure(config):
    """Register the plugin that collects the grid, in xdist's controller or the only process.

    Raises each process's limit of open files to the maximum: some tests open thousands of sockets.
    """
    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Cases())


class ByCombination(LoadScopeScheduling):
    """Assign all tests of a combination to one process of xdist."""

    def _split_scope(self, nodeid: str) -> str:
        return next((one for one in map(name, combinations()) if one in nodeid), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Distribute the tests by combination, with --dist=loadscope."""
    return ByCombination(config, log) if config.option.dist == "loadscope" else None


def pytest_generate_tests(metafunc):
    """Run a test for every combination; if it boots one, for a pairwise set, unless --all.

    Tests marked `whole` take long and run for the columns of the whole grid only; tests marked
    `only(key=choice)`, for the combinations with this choice.
    """
    if "combination" not in metafunc.fixturenames:
        return
    chosen = PAIRWISE if "engine" in metafunc.fixturenames else combinations()
    if metafunc.definition.get_closest_marker("whole"):
        chosen = WHOLE
    if metafunc.config.getoption("all"):
        chosen = combinations()
    if only := metafunc.definition.get_closest_marker("only"):
        chosen = [one for one in chosen if only.kwargs.items() <= one.items()]
    metafunc.parametrize("combination", chosen, ids=name, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items):
    """Order the tests: first those without an engine, then one combination after the other."""
    order = {item: number for number, item in enumerate(items)}
    yield
    names = [name(combination) for combination in combinations()]

    def place(item: pytest.Item) -> tuple[bool, int, int]:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        combination = params.get("combination")
        number = names.index(name(combination)) if combination else -1
        return "engine" in item.fixturenames, number, order[item]

    items.sort(key=place)


@pytest.fixture(scope="session")
def uncaptured(pytestconfig) -> Callable[[], AbstractContextManager]:
    """Return a context manager that suspends pytest's capture, to print the progress of a step."""
    return pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled


@pytest.fixture(scope="session")
def engine(uncaptured) -> Iterator[None]:
    """A Docker engine, in the environment variables of the tests and their subprocesses."""
    with uncaptured():
        engine = engines.ensure()
    before = dict(os.environ)
    os.environ.update(engine.env)
    yield
    os.environ.clear()
    os.environ.update(before)
    with uncaptured():
        engines.stop(engine)


@pytest.fixture(scope="session")
def project(combination, tmp_path_factory) -> Path:
    """A project baked from a combination. Read only: tests share it."""
    return bake(tmp_path_factory.mktemp("bake"), **combination)


def slug(prefix: str, combination: Combination) -> str:
    """Return a project slug of its own for each combination, so that two can be up at a time."""
    return f"{prefix}_{name(combination)}".replace("-", "_")


def page_server(combination: Combination) -> str:
    """Return the name of the server that serves HTTP."""
    return "gunicorn" if combination["topology"] == "split" else combination["asgi_server"]


@contextmanager
def booted(stack: Stack, uncaptured: Callable[[], AbstractContextManager]) -> Iterator[Stack]:
    """Start a stack from nothing, base images included; remove it in the end."""
    with uncaptured():
        images.ensure(base_images(stack.project))
    stack.down()  # of a run that was killed
    try:
        with uncaptured(), host.step(f"booting {stack.project.name}"):
            stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def stack(engine, uncaptured, combination, tmp_path_factory) -> Iterator[Stack]:
    """The production stack, started from nothing, with users ada, bob and root (staff).

    The grid's own Django application is mounted into the containers; the image is as baked.
    """
    folder = tmp_path_factory.mktemp("boot")
    project = bake(folder, project_slug=slug("booted", combination), **combination)
    stack = Stack(project, free_port())  # the default port is the development stack's
    # As on machines with a low soft limit of open files.
    limits = {"ulimits": {"nofile": {"soft": 1024, "hard": 8192}}}
    app = limits | {
        "environment": {"DJANGO_SETTINGS_MODULE": "extra.settings"},
        "volumes": [f"{EXTRA}:/app/extra:ro"],
    }
    services = {"nginx": limits} | dict.fromkeys(stack.services, app)
    (project / "tests.yaml").write_text(json.dumps({"services": services}))
    stack.settings.update(
        HTTP_PORT=str(stack.port),
        COMPOSE_FILE="compose.yaml:tests.yaml",
        ALLOWED_HOSTS="localhost",
        # Short, so that no test waits for minutes.
        REQUEST_TIMEOUT="8",
        WS_PING_INTERVAL="2",
        WS_PING_TIMEOUT="4",
        PROXY_READ_TIMEOUT="8",
        DRAIN_SECONDS="2",
        WS_TICKET_SECONDS="8",
        # Tests open many sockets of a few users.
        WS_PER_USER="5000",
        # All tests have one client address.
        CLIENT_LOGIN_RATE="10000",
        CLIENT_WS_RATE="10000",
        CLIENT_MAX_SOCKETS="10000",
    )
    stack.configure()
    with booted(stack, uncaptured):
        stack.add_user("ada")
        stack.add_user("bob")
        stack.add_user("root", staff=True)
        yield stack
