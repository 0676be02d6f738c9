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
def development(engine, aloud, combination, tmp_path_factory) -> Iterator[Stack]:
    """What `docker compose up` starts, without copying or editing a thing.

    Nor exporting one, unless somebody else has taken the default port, or may be just about to.
    """
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    folder = tmp_path_factory.mktemp("development")
    project = bake(folder, project_slug=slug("developed", combination), **combination)
    with booted(Stack(project, free_port(*[8000] if first else [])), aloud) as stack:
        yield stack


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text in a file of the project."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def page(stack: Stack, path: str = "/") -> str:
    """Return a page, or nothing while the server restarts."""
    answer = stack.browser().get(path)
    return answer.text if answer.status_code == 200 else ""


def test_pages_and_sockets_work(development):
    assert "Echo" in page(development)
    with development.socket("/ws/echo/") as socket:
        socket.send("hello")
        assert socket.recv(timeout=20) == "hello"


def test_errors_show_everything(development):
    assert "DEBUG = True" in development.browser().get("/nothing/here/").text


def test_it_is_served_by_the_same_server_as_in_production(development, combination):
    server = development.browser().get("/whoami/").json()["server"]["name"]
    assert server == page_server(combination)


def test_python_that_was_changed_is_served(development):
    edit(development.project / "config" / "settings.py", '"My Project"', '"Renamed"')
    eventually("the new name on the page", lambda: "Renamed" in page(development))


def test_a_template_that_was_changed_is_served(development):
    home = development.project / "rooms" / "templates" / "rooms" / "home.html"
    edit(home, "Two things to try", "Three things to try")
    eventually("the new heading", lambda: "Three things" in page(development))


def test_a_style_sheet_that_was_changed_is_served(development):
    style = development.project / "config" / "static" / "site" / "style.css"
    style.write_text(style.read_text() + "\n.changed { color: red }\n")
    path = "/static/site/style.css"
    eventually("the new rule", lambda: ".changed" in page(development, path))


def test_a_new_migration_is_applied_by_the_next_up(development):
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
