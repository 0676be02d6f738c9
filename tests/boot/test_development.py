"""`docker compose up` straight after a bake: the development stack."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.baking import bake
from tests.conftest import booted, page_server, slug
from tests.stack import Stack, eventually, free_port

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def development(engine, uncaptured, combination, tmp_path_factory) -> Iterator[Stack]:
    """Start the development stack of a fresh bake, without copying or editing a file.

    HTTP_PORT is set only where the default port is taken, or may be by another test process.
    """
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    folder = tmp_path_factory.mktemp("development")
    project = bake(folder, project_slug=slug("developed", combination), **combination)
    with booted(Stack(project, free_port(*[8000] if first else [])), uncaptured) as stack:
        yield stack


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text in a file of the project."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def page(stack: Stack, path: str = "/") -> str:
    """Return a page, or an empty string while the server restarts."""
    answer = stack.browser().get(path)
    return answer.text if answer.status_code == 200 else ""


def test_pages_and_sockets(development):
    """The development stack serves pages and WebSockets."""
    assert "Echo" in page(development)
    with development.socket("/ws/echo/") as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "hello"


def test_debug_page(development):
    """Errors show Django's debug page."""
    assert "DEBUG = True" in development.browser().get("/nothing/here/").text


def test_server(development, combination):
    """The development stack runs the same server as production."""
    server = development.browser().get("/whoami/").json()["server"]["name"]
    assert server == page_server(combination)


def test_python_reload(development):
    """Changed Python code is served."""
    edit(development.project / "config" / "settings.py", '"My Project"', '"Renamed"')
    eventually("the new name on the page", lambda: "Renamed" in page(development))


def test_template_reload(development):
    """A changed template is served."""
    home = development.project / "rooms" / "templates" / "rooms" / "home.html"
    edit(home, "Two things to try", "Three things to try")
    eventually("the new heading", lambda: "Three things" in page(development))


def test_static_file_reload(development):
    """A changed style sheet is served."""
    style = development.project / "config" / "static" / "site" / "style.css"
    style.write_text(style.read_text() + "\n.changed { color: red }\n")
    path = "/static/site/style.css"
    eventually("the new rule", lambda: ".changed" in page(development, path))


def test_new_migration(development):
    """The next `docker compose up` applies a new migration."""
    text = "    text = models.TextField(max_length=2000)\n"
    pinned = "    pinned = models.BooleanField(default=False)\n"
    edit(development.project / "rooms" / "models.py", text, text + pinned)
    migration = development.project / "rooms" / "migrations" / "0002_message_pinned.py"
    migration.write_text(
        "from django.db import migrations, models\n\n\n"
        "class Migration(migrations.Migration):\n"
        '    dependencies = [("rooms", "0001_initial")]\n'
        "    operations = [\n"
        '        migrations.AddField("message", "pinned", models.BooleanField(default=False))\n'
        "    ]\n"
    )
    development.up()
    assert "[X] 0002_message_pinned" in development.manage("showmigrations", "rooms")
