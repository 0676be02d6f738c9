"""The environment: read once, and refused when it contradicts itself."""

import os
import re
import subprocess
import sys
from secrets import token_urlsafe

import pytest

from config import contract
from config.contract import BASE_DIR


def serve(*options: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `python -m serve` in the environment of these tests, changed as given."""
    kept = {name: value for name, value in os.environ.items() if f"{name}_FILE" not in environment}
    return subprocess.run(
        [sys.executable, "-m", "serve", *options],
        cwd=BASE_DIR,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_what_will_run_can_be_seen():
    command = serve("--print", BIND="127.0.0.1:4321", SERVER_ARGS="--one-more 'two words'")
    assert command.stdout.endswith("--one-more 'two words'\n")
    assert "4321" in command.stdout
    assert command.returncode == 0


def test_a_value_can_be_a_file_in_the_folder_of_the_project(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERSION_FILE", "config/__init__.py")
    monkeypatch.setenv("GREETING_FILE", str(tmp_path / "greeting"))
    (tmp_path / "greeting").write_text("hello\n")
    env = contract.Env(strip_whitespace=True)
    assert [env.str("VERSION"), env.str("GREETING")] == ["", "hello"]


def test_what_is_set_counts_for_more_than_a_file(monkeypatch):
    monkeypatch.setenv("GREETING_FILE", "/no/such/file")
    monkeypatch.setenv("GREETING", "hello")
    assert contract.Env().str("GREETING") == "hello"


@pytest.mark.parametrize(
    "wrong",
    [
        {"SECRET_KEY": ""},
        {"SECRET_KEY_FILE": "/no/such/file"},
        {"WEB_CONCURRENCY": "many"},
        {"WEB_CONCURRENCY": "0"},
        {"BIND": "8000"},
        {"ROOT_PATH": "chat/"},
        {"TRUSTED_PROXIES": "nginx"},
        {"SERVER_ARGS": "--one 'quote"},
        {"DATABASE_URL": "nonsense"},
        {"LOG_FORMAT": "xml"},
    ],
    ids=lambda wrong: "=".join(*wrong.items()),
)
def test_a_value_that_cannot_be_read_ends_the_start_with_a_line_that_names_it(wrong):
    started = serve(**wrong)
    (name,) = wrong
    assert started.returncode == 1
    assert name in started.stderr
    assert started.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "contradiction",
    [
        {"DEBUG": "false", "ALLOWED_HOSTS": ""},
        {"WS_PING_INTERVAL": "50", "PROXY_READ_TIMEOUT": "60"},
        {"DRAIN_SECONDS": "5", "REQUEST_TIMEOUT": "70", "STOP_GRACE_SECONDS": "75"},
        {"WEB_CONCURRENCY": "2", "REDIS_URL": ""},
{% if cookiecutter.database == "postgres" %}
        {"APP_REPLICAS": "3", "DATABASE_CONNECTIONS": "2"},
{% endif %}
    ],
    ids=" ".join,
)
def test_variables_that_contradict_each_other_are_named_and_nothing_starts(contradiction):
    started = serve(**contradiction)
    assert started.returncode == 1
    assert all(name in started.stderr for name in contradiction)
    assert started.stderr.count("\n") == 1


def test_blanks_in_a_list_do_not_count():
    assert contract.networks(" 10.0.0.1, 10.0.0.2 ,") == ["10.0.0.1", "10.0.0.2"]


def test_nginx_has_the_same_defaults():
    compose = (BASE_DIR / "compose.yaml").read_text()
    defaults = dict(re.findall(r"^ +([A-Z_]+): \${\1:-(\d+)}$", compose, re.MULTILINE))
    assert defaults.keys() >= {"MAX_BODY_BYTES", "PROXY_READ_TIMEOUT"}
    shared = [name for name in defaults if not name.startswith("CLIENT_")]  # nginx's own
    assert all(defaults[name] == str(getattr(contract, name)) for name in shared)
    example = (BASE_DIR / ".env.example").read_text()
    explained = dict(re.findall(r"^#([A-Z_]+)=(\d+)$", example, re.MULTILINE))
    assert defaults.items() <= explained.items()


def test_every_variable_is_explained():
    example = (BASE_DIR / ".env.example").read_text()
    source = (BASE_DIR / "config" / "contract.py").read_text()
    explained = set(re.findall(r"^#?([A-Z_]+?)(?:_FILE)?=", example, re.MULTILINE))
    read = set(re.findall(r'(?:env\.\w+|parse)\(\s*"([A-Z_]+)"', source))
    compose = "".join(path.read_text() for path in BASE_DIR.glob("compose*.yaml"))
    assert explained - read <= {"COMPOSE", *re.findall(r"\${([A-Z_]+)", compose)}
    assert read <= explained


def test_nothing_is_left_to_warn_of_in_production():
    check = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level=WARNING"],
        cwd=BASE_DIR,
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "config.settings", "HTTPS_ONLY": "true"}
        | {"SECRET_KEY": token_urlsafe(50)},
        capture_output=True,
        text=True,
    )
    assert check.returncode == 0, check.stderr
