"""The baked files: complete, formatted, and without traces of the template."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import locks
from tests.baking import CHOICES, ROOT, bake, built_on, name

YAMLLINT = (
    "{extends: default, rules: {line-length: {max: 100}, document-start: disable, "
    "braces: {max-spaces-inside: 0}, comments: {min-spaces-from-content: 1}, "
    "truthy: {check-keys: false}}}"  # `on` is a key of GitHub's
)
# What no file mentions in a bake without a choice.
TRACES = {
    "postgres": r"postgres|psycopg|DATABASE_CONNECTIONS",
    "split": r"\bwsgi|\bserve[./]web|\bWEB_(REPLICAS|THREADS)|\bweb:8000",
}


def texts(project: Path) -> dict[str, str]:
    """Return the text of every file of a project."""
    return {
        str(path.relative_to(project)): path.read_bytes().decode()
        for path in sorted(project.rglob("*"))
        if path.is_file()
    }


def test_chosen_server(project, combination):
    """The chosen server is baked, and no file mentions another one."""
    server = combination["asgi_server"]
    others = set(CHOICES["asgi_server"]) - {server}
    others = others.difference(*map(built_on, combination.values()))
    assert f'NAME = "{server}"' in (project / "serve" / "server.py").read_text()
    assert re.search(rf"^{server}==", (project / "requirements.txt").read_text(), re.MULTILINE)
    for path, text in texts(project).items():
        assert not [other for other in others if other in text.lower()], path


def test_no_traces_of_other_choices(project, combination):
    """No file mentions an option that was not chosen."""
    for choice in TRACES.keys() - set(combination.values()):
        for path, text in texts(project).items():
            assert not re.search(TRACES[choice], text, re.IGNORECASE), path


def test_no_template_syntax(project):
    """No baked file contains template syntax."""
    for path, text in texts(project).items():
        assert "cookiecutter" not in text.lower(), path
        if not path.endswith((".html", ".js", ".mjs")):  # in which braces have another meaning
            if path.startswith(".github"):  # and GitHub replaces these
                text = re.sub(r"\${{ github\.\w+ }}", "", text)
            assert not re.search(r"{%|%}|{{|{#", text), path


def test_whitespace(project):
    """Baked files have no stray whitespace or blank lines."""
    for path, text in texts(project).items():
        assert "\r" not in text, path
        assert not re.search(r"[ \t]$", text, re.MULTILINE), path
        assert not text or text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert not text.startswith("\n"), path
        if not path.endswith(".py"):  # Ruff formats their blank lines
            assert "\n\n\n" not in text, path


def test_linters(project):
    """Baked files pass Ruff, djLint, yamllint and hadolint."""
    for command in (
        ["ruff", "check", "--no-cache", "."],
        ["ruff", "format", "--no-cache", "--check", "."],
        ["djlint", "--lint", "--quiet", "."],
        ["djlint", "--check", "--quiet", "."],
        ["yamllint", "--strict", "-d", YAMLLINT, "."],
        ["hadolint", "Dockerfile"],
    ):
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.whole
def test_unsupported_settings(project, environment, combination):
    """Settings that the server does not support are refused by name."""
    settings = {"SECRET_KEY": "x", "REDIS_URL": "redis://redis", "WEB_CONCURRENCY": "2"}
    done = subprocess.run(
        [environment / "python", "-m", "serve", "--print"],
        cwd=project,
        env=os.environ | settings | {"BIND": "[::]:8000"},
        capture_output=True,
        text=True,
    )
    if combination["asgi_server"] == "daphne":
        assert done.returncode == 1
        assert all(word in done.stderr for word in ("BIND", "daphne", "WEB_CONCURRENCY"))
        assert done.stderr.count("\n") == 1
    else:
        assert done.returncode == 0
        assert "::" in done.stdout


@pytest.mark.only(asgi_server="uvicorn")
def test_deleting_the_example(project, environment, tmp_path):
    """The example can be deleted as the README describes."""
    copy = shutil.copytree(project, tmp_path / "project")
    shutil.rmtree(copy / "rooms")
    (copy / "tests" / "test_rooms.py").unlink()
    for file in (*(copy / "config").glob("*.py"), copy / "pyproject.toml"):
        kept = [line for line in file.read_text().splitlines() if not re.search(r"\brooms\b", line)]
        file.write_text("\n".join(kept) + "\n")
    urls = copy / "config" / "urls.py"
    home = 'path("", LoginView.as_view(), name="home"),'
    urls.write_text(urls.read_text().replace("urlpatterns = [", f"urlpatterns = [\n    {home}"))
    for command in (
        ["pytest", "-p", "no:cacheprovider"],
        ["ruff", "check", "--no-cache"],
        ["ruff", "format", "--no-cache", "--check"],
        ["djlint", "--lint", "--check", "--quiet", "."],
        ["lint-imports"],
    ):
        done = subprocess.run(
            [environment / command[0], *command[1:]], cwd=copy, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_locks_are_current(project, combination):
    """The locks match the baked project's dependencies."""
    choices = {key: combination[key] for key in ("asgi_server", "topology", "database")}
    fresh = locks.lock(choices)
    assert set(fresh) == {f"{name(choices)}.txt", f"{name(choices)}-dev.txt"}
    for file, text in fresh.items():
        assert (locks.LOCKS / file).read_text() == text, "outdated: run make locks"


def test_template_lock_is_current(tmp_path):
    """The template's lock matches its dependencies."""
    for file in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / file, tmp_path)
    locks.compile_lock(tmp_path, "requirements.txt")
    assert (tmp_path / "requirements.txt").read_text() == (ROOT / "requirements.txt").read_text()


def test_locks_name_no_index():
    """No lock names a package index or a file."""
    for lock in [*locks.LOCKS.iterdir(), ROOT / "requirements.txt"]:
        assert not re.search(r"://|--index|--find-links| @ ", lock.read_text()), lock.name


def secret(project: Path) -> str:
    """Return the SECRET_KEY of a project."""
    return re.fullmatch(r"(\w{50})\n", (project / "secrets" / "secret_key").read_text())[1]


def test_bakes_have_their_own_secrets(tmp_path):
    """Every bake generates its own secret key, and writes it to one file only."""
    first, second = bake(tmp_path / "first"), bake(tmp_path / "second")
    assert secret(first) != secret(second)
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    containing = [path for path in kept if secret(first) in path.read_text()]
    assert containing == [first / "secrets" / "secret_key"]


def test_secret_file_modes(project):
    """Only their owner can read .env and enter the folder of secrets."""
    assert {path.stat().st_mode & 0o777 for path in (project / ".env", project / "secrets")} == {
        0o600,
        0o700,
    }
    # Containers mount these files without their folder, and run as other users.
    assert {path.stat().st_mode & 0o777 for path in (project / "secrets").iterdir()} == {0o644}


def test_bake_without_hooks(tmp_path):
    """Without hooks, all files but the secrets are baked the same."""
    with_hooks = texts(bake(tmp_path / "with"))
    without = texts(bake(tmp_path / "without", "--accept-hooks=no"))
    del with_hooks["secrets/secret_key"], without["secrets/secret_key"]
    assert with_hooks == without


def test_gitignore(project, tmp_path):
    """Git ignores secrets, .env and backups."""
    copy = shutil.copytree(project, tmp_path / "project")
    (back_up,) = re.findall(r"> (backup\.\w+)$", (copy / "README.md").read_text(), re.MULTILINE)
    (copy / back_up).touch()
    git = ["git", "-C", copy]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    files = subprocess.run([*git, "ls-files"], check=True, capture_output=True, text=True).stdout
    secrets = {path for path in texts(project) if path.startswith("secrets/")}
    ignored = {*texts(project), back_up} - set(files.splitlines())
    assert ignored == {".env", back_up, *secrets}
    assert "secrets/secret_key" in secrets


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Return the home of a user whose cookiecutter configuration answers questions."""
    (tmp_path / ".cookiecutterrc").write_text(
        json.dumps({"default_context": {"project_name": "Not this", "domain_name": "wrong"}})
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_user_configuration(home, tmp_path):
    """The user's cookiecutter configuration does not affect these tests."""
    assert os.path.expanduser("~") == str(home)
    assert bake(tmp_path / "bake").name == "my_project"
