"""The environment: parsing, defaults and contradictions."""

import os
import re
import subprocess
import sys
from secrets import token_urlsafe

import pytest

from config import env
from config.env import BASE_DIR


def serve(*options: str, **environment: str) -> subprocess.CompletedProcess:
    """Run `python -m serve` in the tests' environment, with the given changes."""
    kept = {name: value for name, value in os.environ.items() if f"{name}_FILE" not in environment}
    return subprocess.run(
        [sys.executable, "-m", "serve", *options],
        cwd=BASE_DIR,
        env=kept | {"DJANGO_SETTINGS_MODULE": "config.settings"} | environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_print_command():
    """`python -m serve --print` prints the server's command."""
    command = serve("--print", BIND="127.0.0.1:4321", SERVER_ARGS="--one-more 'two words'")
    assert command.stdout.endswith("--one-more 'two words'\n")
    assert "4321" in command.stdout
    assert command.returncode == 0


def test_value_from_file(monkeypatch, tmp_path):
    """A _FILE variable names a file; a relative path starts at the project's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERSION_FILE", "config/__init__.py")
    monkeypatch.setenv("GREETING_FILE", str(tmp_path / "greeting"))
    (tmp_path / "greeting").write_text("hello\n")
    reader = env.Env(strip_whitespace=True)
    assert [reader.str("VERSION"), reader.str("GREETING")] == ["", "hello"]


def test_variable_precedes_file(monkeypatch):
    """A variable takes precedence over its _FILE variable."""
    monkeypatch.setenv("GREETING_FILE", "/no/such/file")
    monkeypatch.setenv("GREETING", "hello")
    assert env.Env().str("GREETING") == "hello"


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
        {"EMAIL_URL": "consolemail://"},
        {"EMAIL_URL": "smtp://user:pass/word@mail:25"},
        {"EMAIL_URL": "smtp://mail?timeout=soon"},
    ],
    ids=lambda wrong: "=".join(*wrong.items()),
)
def test_invalid_value(wrong):
    """An invalid value stops the start with one line that names the variable."""
    started = serve(**wrong)
    (name,) = wrong
    assert started.returncode == 1
    assert name in started.stderr
    assert started.stderr.count("\n") == 1


def test_all_invalid_values():
    """All invalid variables are reported at once, and manage.py reports them as well."""
    wrong = {"WEB_CONCURRENCY": "many", "BIND": "8000", "SECRET_KEY_FILE": "/no/such/file"}
    started = serve(**wrong)
    assert [line.partition(":")[0] for line in sorted(started.stderr.splitlines())] == [
        "BIND",
        "SECRET_KEY",
        "WEB_CONCURRENCY",
    ]
    kept = {name: value for name, value in os.environ.items() if name != "SECRET_KEY"}
    manage = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=BASE_DIR,
        env=kept | {"DJANGO_SETTINGS_MODULE": "config.settings"} | wrong,
        capture_output=True,
        text=True,
    )
    assert (manage.returncode, manage.stderr) == (1, started.stderr)


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
def test_conflicts(contradiction):
    """Contradictory variables stop the start with one line that names them."""
    started = serve(**contradiction)
    assert started.returncode == 1
    assert all(name in started.stderr for name in contradiction)
    assert started.stderr.count("\n") == 1


def test_list_whitespace():
    """Whitespace and empty items in a list are ignored."""
    assert env.networks(" 10.0.0.1, 10.0.0.2 ,") == ["10.0.0.1", "10.0.0.2"]


def test_nginx_defaults():
    """nginx's defaults equal the application's and those in .env.example."""
    compose = (BASE_DIR / "compose.yaml").read_text()
    defaults = dict(re.findall(r"^ +([A-Z_]+): \${\1:-(\d+)}$", compose, re.MULTILINE))
    assert defaults.keys() >= {"MAX_BODY_BYTES", "PROXY_READ_TIMEOUT"}
    shared = [name for name in defaults if not name.startswith("CLIENT_")]  # nginx's own
    assert all(defaults[name] == str(getattr(env, name)) for name in shared)
    example = (BASE_DIR / ".env.example").read_text()
    explained = dict(re.findall(r"^#([A-Z_]+)=(\d+)$", example, re.MULTILINE))
    assert defaults.items() <= explained.items()


def test_env_example():
    """.env.example lists every variable that is read, and no unused one."""
    example = (BASE_DIR / ".env.example").read_text()
    source = (BASE_DIR / "config" / "env.py").read_text()
    explained = set(re.findall(r"^#?([A-Z_]+?)(?:_FILE)?=", example, re.MULTILINE))
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    compose = "".join(path.read_text() for path in BASE_DIR.glob("compose*.yaml"))
    assert explained - read <= {"COMPOSE", *re.findall(r"\${([A-Z_]+)", compose)}
    assert read <= explained


def test_deploy_check():
    """`manage.py check --deploy` has no warnings for production settings."""
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
