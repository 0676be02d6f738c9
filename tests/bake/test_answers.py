"""The answers to the template's questions: accepted, or refused."""

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import yaml
from cookiecutter.environment import StrictEnvironment
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Template

from tests.baking import CONFIGURATION, ROOT, BakeError, bake

# The same examples in every run, and no database of examples between runs.
reproducible = settings(max_examples=2000, derandomize=True, database=None, deadline=None)
# Any character, and with a higher probability one that is special in some syntax.
characters = st.characters() | st.sampled_from("\"'\\{}%#$`<&:!*\t\n\0\u202e\ufeff漢é\u0301ﬁ🚀 ")
texts = st.text(characters, max_size=90)

NAMES = [
    "Plain",
    "Crème brûlée",
    "プロジェクト 実験",
    "مشروع جديد",
    'Say "hello"',
    "O'Connor & Sons",
    'It\'s "both" kinds',
    r"back\slash \n \u00e9",
    "<b>bold</b> & {braces}",
    "100% #1 $HOME `id`: yes",
    "Rocket 🚀 family 👩‍👩‍👧",
    "x" * 70,
    "漢" * 35,
    "\\" * 35,
    "'\"" * 17,
    "مشروع abc ‏(جديد)‏ e\u0301 ﬁ ½ Ⅳ",
    "#!/bin/sh; $(id) && ${PATH} | tee >x",
    "--- !!python/object [a: b] *x &y %z @",
]
# Names that cookiecutter renders as templates when they are given on the command line, but not at
# a prompt.
TEMPLATE_SYNTAX = ["{{ cookiecutter }}", "{% raw %}", "{{", "a {# b", "{{ 7 * 7 }} %} {% if"]


def bake_at_prompts(folder: Path, *answers: str) -> Path:
    """Bake into a folder, with the first questions answered at their prompts."""
    (folder / ".cookiecutterrc").write_text(json.dumps({"replay_dir": str(folder / ".replay")}))
    command = [sys.executable, "-m", "cookiecutter", f"--config-file={folder}/.cookiecutterrc"]
    defaults = "\n" * 20
    subprocess.run(
        [*command, f"--output-dir={folder}/out", ROOT],
        input="\n".join(answers) + defaults,
        capture_output=True,
        text=True,
        check=True,
    )
    (project,) = (folder / "out").iterdir()
    return project


def assert_valid(project: Path, project_name: str) -> None:
    """Assert that a project has its name, and that its files are valid by their suffixes."""
    settings = ast.parse((project / "config" / "settings.py").read_text())
    names = [
        ast.literal_eval(node.value)
        for node in settings.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "PROJECT_NAME"
    ]
    assert names == [project_name]
    assert f"# {project_name}\n" in (project / "README.md").read_text()
    for source in project.rglob("*.py"):
        ast.parse(source.read_text(), source)
    tomllib.loads((project / "pyproject.toml").read_text())
    for source in [*project.rglob("*.yaml"), *project.rglob("*.yml")]:
        yaml.safe_load(source.read_text())
    for command in (["check"], ["format", "--check"]):
        subprocess.run(["ruff", *command, "--no-cache", "--quiet"], cwd=project, check=True)


@pytest.mark.parametrize("project_name", NAMES)
def test_project_names(project_name, tmp_path):
    """A project may have any printable name."""
    project = bake(tmp_path, project_name=project_name, project_slug="any_name")
    assert_valid(project, project_name)


@pytest.mark.parametrize("project_name", TEMPLATE_SYNTAX)
def test_template_syntax_in_name(project_name, tmp_path):
    """A project's name may contain template syntax."""
    assert_valid(bake_at_prompts(tmp_path, project_name, "any_name"), project_name)


def test_slug_length(tmp_path):
    """A name that is long when transliterated gets a slug of at most 50 characters."""
    project = bake(tmp_path, project_name="漢" * 35)
    assert len(project.name) <= 50
    assert_valid(project, "漢" * 35)


def test_domain_and_email(tmp_path):
    """The domain is in ALLOWED_HOSTS, and the e-mail address in the settings."""
    domain, address = "xn--bcher-kva.1-2.example", "_First.last+a%b-c@localhost"
    project = bake(tmp_path, domain_name=domain, author_email=address)
    assert_valid(project, "My Project")
    (hosts,) = re.findall(r"^ALLOWED_HOSTS=(.*)$", (project / ".env").read_text(), re.MULTILINE)
    assert domain in hosts.split(",")
    assert f'ADMINS = [("Admin", "{address}")]' in (project / "config" / "settings.py").read_text()


def test_slug_without_letters(tmp_path):
    """A name without letters gets the slug my_project."""
    assert bake(tmp_path, project_name="🚀").name == "my_project"


REFUSED = {
    "project_slug": [
        *("1st_project", "my-project", "my project", "MyProject", "_private", "trailing_", "a__b"),
        *("class", "json", "test", "django", "channels", "uvicorn", "config", "../up", "naïve"),
        *("a" * 51, "a\nb", "ﬁne", "a\u0301", "$(id)", "%TEMP%"),
    ],
    "project_name": [" ", "two\nlines", "tab\there", "line\u2028separator", "x" * 71]
    + ["漢" * 36, "\\" * 36, "\udcff", "\u202egnihton", "bell\a", " blank", "blank "],
    "domain_name": ["http://example.com", "example.com:8000", "exa mple.com", "example", "-a.com"]
    + ["a..com", "1.2.3.4", "example.com/path", f"{'a' * 64}.com", f"{'a.' * 130}com", ""],
    "author_email": ["nobody", "@example.com", "a@b", "a b@example.com", "'a'@example.com", ""]
    + ["a\a@example.com", "é@example.com", "-a@example.com", "$(id)@example.com", "a..b@localhost"],
}


VALID = {
    "project_name": "Fine",
    "project_slug": "fine",
    "domain_name": "example.com",
    "author_email": "me@example.com",
}


@pytest.fixture(scope="module")
def hook() -> SimpleNamespace:
    """Return the names that the pre-generation hook defines, after a run with valid answers."""
    source = (ROOT / "hooks" / "pre_gen_project.py").read_text()
    defined: dict = {}
    exec(source.replace("{{ cookiecutter | tojson }}", json.dumps(CONFIGURATION | VALID)), defined)
    return SimpleNamespace(**defined)


@pytest.mark.parametrize(
    ("question", "answer"),
    [(question, answer) for question, answers in REFUSED.items() for answer in answers],
    ids=lambda value: repr(value)[:40],
)
def test_invalid_answer(question, answer, hook):
    """An invalid answer is refused in one line that begins with its question."""
    (line,) = hook.refusals(**VALID | {question: answer})
    assert line.startswith(f"{question} {answer!r} ")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        *((question, answers[0]) for question, answers in REFUSED.items()),
        *(("project_name", "\udcff"), ("project_slug", "../up"), ("project_slug", "a" * 200)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_refused_bake(question, answer, tmp_path):
    """A refused bake prints one line without a traceback and leaves no files."""
    with pytest.raises(BakeError) as refused:
        bake(tmp_path, **VALID | {question: answer})
    (line,) = [line for line in str(refused.value).splitlines() if line.startswith(question)]
    assert line.endswith(".")
    assert "Traceback" not in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_several_invalid_answers(tmp_path):
    """All invalid answers are reported together."""
    with pytest.raises(BakeError) as refused:
        bake(tmp_path, project_slug="1", domain_name="?", author_email="?")
    named = re.findall(r"^(\w+) '", str(refused.value), re.MULTILINE)
    assert named == ["project_slug", "domain_name", "author_email"]


def test_unknown_choice(tmp_path):
    """An answer that is not one of the choices is refused."""
    with pytest.raises(BakeError, match="wsgiref"):
        bake(tmp_path, asgi_server="wsgiref")


@cache
def template(key: str) -> Template:
    """Return the template of a key of cookiecutter.json."""
    questions = json.loads((ROOT / "cookiecutter.json").read_text())
    return StrictEnvironment(context={"cookiecutter": {}}).from_string(questions[key])


def rendered(key: str, **answers: str) -> str:
    """Return a key of cookiecutter.json, rendered with these answers."""
    return template(key).render(cookiecutter=answers)


def test_any_answer(hook):
    """Every answer is accepted, or refused in lines that name their questions."""
    questions = ("project_name", "project_slug", "domain_name", "author_email")
    seen = set()

    @reproducible
    @given(st.fixed_dictionaries(dict.fromkeys(questions, texts)))
    def check(answers):
        lines = list(hook.refusals(**answers))
        assert [line.split()[0] for line in lines] == sorted(
            {line.split()[0] for line in lines}, key=questions.index
        )
        assert all(line.isprintable() and line.endswith(".") for line in lines)
        seen.add(len(lines))

    check()
    assert len(seen) > 1


def test_accepted_names(hook, tmp_path):
    """An accepted name is the same string in Python, and is formatted as Ruff does."""
    accepted = set()

    @reproducible
    @given(texts | st.text(st.sampled_from("\"'\\漢x"), max_size=70))
    def check(name):
        slug = rendered("project_slug", project_name=name)
        if refused := list(hook.refusals(**VALID | {"project_name": name})):
            assert len(refused) == 1
            return
        quote = rendered("__quote", project_name=name)
        literal = rendered("__project_name_literal", project_name=name, __quote=quote)
        assert ast.literal_eval(literal) == name
        assert len(slug) <= 50
        assert re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", slug)
        accepted.add(literal)

    check()
    assert len(accepted) > 200
    source = tmp_path / "names.py"
    source.write_text("".join(f"PROJECT_NAME = {literal}\n" for literal in sorted(accepted)))
    for arguments in (["format", "--check"], ["check", "--select=E,F,W"]):
        command = ["ruff", *arguments, "--isolated", "--no-cache", "--line-length=100", source]
        subprocess.run(command, check=True)


def mistyped(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return a strategy's texts, unchanged and with characters inserted."""

    def insert(text: str, inserted: str, place: int) -> str:
        return text[: place % (len(text) + 1)] + inserted + text[place % (len(text) + 1) :]

    return strategy | st.builds(insert, strategy, st.text(characters, max_size=2), st.integers(0))


def test_accepted_domains_and_emails(hook):
    """An accepted domain or address needs no quoting in a shell, YAML or a URL."""
    accepted = set()
    label = st.text("abz019-", min_size=1, max_size=9)
    domain = st.lists(label, min_size=1, max_size=4).map(".".join)
    local = st.text("aZ09_%+-.", min_size=1, max_size=9)

    @reproducible
    @given(mistyped(domain), mistyped(st.builds("{}@{}".format, local, domain)))
    def check(domain, address):
        answers = {"domain_name": domain, "author_email": address}
        lines = "".join(hook.refusals(**VALID | answers))
        for question, answer in answers.items():
            if question not in lines:
                accepted.add(question)
                assert answer.isascii()
                assert shlex.split(answer) == [answer]
                assert yaml.safe_load(f"key: {answer}") == {"key": answer}
                url = urlsplit(f"http://{answer}/")
                assert url.hostname == answer.rpartition("@")[2]

    check()
    assert accepted == {"domain_name", "author_email"}


@pytest.mark.whole
def test_reserved_slugs(environment, project, hook):
    """A slug cannot be the name of a module or package that the project uses."""
    (site,) = environment.parent.glob("lib/python*/site-packages")
    imported = {
        file.parts[0].removesuffix(".py")
        for metadata in site.glob("*.dist-info")
        for file in Distribution.at(metadata).files or ()
        if file.suffix == ".py" and not file.parts[0].endswith(".dist-info")
    }
    lock = (project / "requirements-dev.txt").read_text()
    locked = {re.sub("[-.]", "_", name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    own = {path.stem for path in (ROOT / "{{cookiecutter.project_slug}}").iterdir()}
    possible = {name for name in imported | locked | own if re.fullmatch("[a-z][a-z0-9_]*", name)}
    assert "django" in possible
    assert possible - hook.TAKEN == set()
