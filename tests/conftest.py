"""Docker for the tests that boot something: the machine's own, or one made for the purpose."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.baking import PAIRWISE, WHOLE, Combination, bake, combinations, name
from tests.grid.cells import Cells
from tests.lab import engine as engines
from tests.lab import host, images
from tests.stack import Stack, base_images, free_port

EXTRA = Path(__file__).parent / "grid" / "extra"


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="boot every combination of choices")


def pytest_configure(config):
    """Gather the cells of the grid, in the process that hears of all tests.

    Each process takes as many open files as it may have: some tests open thousands of sockets.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Cells())


class ByCombination(LoadScopeScheduling):
    """Has one process ask all tests of a combination, where several share the tests."""

    def _split_scope(self, nodeid: str) -> str:
        return next((one for one in map(name, combinations()) if one in nodeid), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Share out combinations by --dist=loadscope."""
    return ByCombination(config, log) if config.option.dist == "loadscope" else None


def pytest_generate_tests(metafunc):
    """Ask a test of every combination; if it boots one, of a pairwise set, unless --all.

    Tests that are marked `whole` take long, and are asked of the columns of the whole grid only;
    those that are marked `only(key=choice)`, of that choice.
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
    """Ask first what needs no engine, then all of one combination after the other."""
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


@pytest.fixture(scope="session")
def project(combination, tmp_path_factory) -> Path:
    """A project baked from a combination. Look, but do not write."""
    return bake(tmp_path_factory.mktemp("bake"), **combination)


def slug(prefix: str, combination: Combination) -> str:
    """Return a name for a project, so that two of them can be up at a time."""
    return f"{prefix}_{name(combination)}".replace("-", "_")


def page_server(combination: Combination) -> str:
    """Return the name of the server that answers pages."""
    return "gunicorn" if combination["topology"] == "split" else combination["asgi_server"]


@contextmanager
def booted(stack: Stack, aloud: Callable[[], AbstractContextManager]) -> Iterator[Stack]:
    """Start a stack from nothing, base images and all; remove it in the end."""
    with aloud():
        images.ensure(base_images(stack.project))
    stack.down()  # what a run that was killed may have left
    try:
        with aloud(), host.step(f"booting {stack.project.name}"):
            stack.up()
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def stack(engine, aloud, combination, tmp_path_factory) -> Iterator[Stack]:
    """The production stack, started from nothing; with two users, ada and bob, and root.

    The grid's own application is mounted beside the project's, whose image is as it was baked.
    """
    folder = tmp_path_factory.mktemp("boot")
    project = bake(folder, project_slug=slug("booted", combination), **combination)
    stack = Stack(project, free_port())  # the default one is left to the development stack
    # As on machines that give a process few open files unless it asks for more.
    few = {"ulimits": {"nofile": {"soft": 1024, "hard": 8192}}}
    app = few | {
        "environment": {"DJANGO_SETTINGS_MODULE": "extra.settings"},
        "volumes": [f"{EXTRA}:/app/extra:ro"],
    }
    services = {"nginx": few} | dict.fromkeys(stack.services, app)
    (project / "tests.yaml").write_text(json.dumps({"services": services}))
    stack.settings.update(
        HTTP_PORT=str(stack.port),
        COMPOSE_FILE="compose.yaml:tests.yaml",
        ALLOWED_HOSTS="localhost",
        # So that a test need not wait for minutes.
        REQUEST_TIMEOUT="8",
        WS_PING_INTERVAL="2",
        WS_PING_TIMEOUT="4",
        PROXY_READ_TIMEOUT="8",
        DRAIN_SECONDS="2",
        WS_TICKET_SECONDS="8",
        # Many sockets of a few users.
        WS_PER_USER="5000",
        # All of these tests have one address.
        CLIENT_LOGIN_RATE="10000",
        CLIENT_WS_RATE="10000",
        CLIENT_MAX_SOCKETS="10000",
    )
    stack.configure()
    with booted(stack, aloud):
        stack.add_user("ada")
        stack.add_user("bob")
        stack.add_user("root", staff=True)
        yield stack
