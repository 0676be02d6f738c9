"""What may be answered, and what is refused."""

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
from hypothesis import strategies as some
from jinja2 import Template

from tests.baking import ROOT, Refused, bake

# The same examples in each run, and nothing kept between two of them.
often = settings(max_examples=2000, derandomize=True, database=None, deadline=None)
# Any character at all, and more often one that means something to somebody.
characters = some.characters() | some.sampled_from(
    "\"'\\{}%#$`<&:!*\t\n\0\u202e\ufeff漢é\u0301ﬁ🚀 "
)
texts = some.text(characters, max_size=90)

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
# What cookiecutter itself takes for its template language on the command line; at a prompt it does
# not.
TYPED = ["{{ cookiecutter }}", "{% raw %}", "{{", "a {# b", "{{ 7 * 7 }} %} {% if"]


def type_in(folder: Path, *answers: str) -> Path:
    """Bake into a folder by answering the first questions at their prompts."""
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


def assert_sound(project: Path, project_name: str) -> None:
    """Assert that a project says its name, and that every file of it is what its ending says."""
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
    for check in (["check"], ["format", "--check"]):
        subprocess.run(["ruff", *check, "--no-cache", "--quiet"], cwd=project, check=True)


@pytest.mark.parametrize("project_name", NAMES)
def test_a_project_may_have_any_name(project_name, tmp_path):
    project = bake(tmp_path, project_name=project_name, project_slug="any_name")
    assert_sound(project, project_name)


@pytest.mark.parametrize("project_name", TYPED)
def test_a_name_may_look_like_the_template_language(project_name, tmp_path):
    assert_sound(type_in(tmp_path, project_name, "any_name"), project_name)


def test_a_name_that_is_long_in_letters_gets_a_slug_that_is_not(tmp_path):
    project = bake(tmp_path, project_name="漢" * 35)
    assert len(project.name) <= 50
    assert_sound(project, "漢" * 35)


def test_a_domain_and_an_address_are_where_they_are_needed(tmp_path):
    domain, address = "xn--bcher-kva.1-2.example", "_First.last+a%b-c@localhost"
    project = bake(tmp_path, domain_name=domain, author_email=address)
    assert_sound(project, "My Project")
    (hosts,) = re.findall(r"^ALLOWED_HOSTS=(.*)$", (project / ".env").read_text(), re.MULTILINE)
    assert domain in hosts.split(",")
    assert f'SERVER_EMAIL = "{address}"' in (project / "config" / "settings.py").read_text()


def test_a_name_of_no_letters_gets_a_slug_all_the_same(tmp_path):
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


FINE = {
    "project_name": "Fine",
    "project_slug": "fine",
    "domain_name": "example.com",
    "author_email": "me@example.com",
}


@pytest.fixture(scope="module")
def hook() -> SimpleNamespace:
    """What the hook that refuses answers has defined, after a run in which it refused none."""
    source = (ROOT / "hooks" / "pre_gen_project.py").read_text()
    defined: dict = {}
    exec(source.replace("{{ cookiecutter | tojson }}", json.dumps(FINE)), defined)
    return SimpleNamespace(**defined)


@pytest.mark.parametrize(
    ("question", "answer"),
    [(question, answer) for question, answers in REFUSED.items() for answer in answers],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_answer_is_refused(question, answer, hook):
    (line,) = hook.refusals(**FINE | {question: answer})
    assert line.startswith(f"{question} {answer!r} ")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        *((question, answers[0]) for question, answers in REFUSED.items()),
        *(("project_name", "\udcff"), ("project_slug", "../up"), ("project_slug", "a" * 200)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_refused_costs_one_line_and_leaves_nothing_behind(question, answer, tmp_path):
    with pytest.raises(Refused) as refused:
        bake(tmp_path, **FINE | {question: answer})
    (line,) = [line for line in str(refused.value).splitlines() if line.startswith(question)]
    assert line.endswith(".")
    assert "Traceback" not in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_several_bad_answers_are_named_together(tmp_path):
    with pytest.raises(Refused) as refused:
        bake(tmp_path, project_slug="1", domain_name="?", author_email="?")
    named = re.findall(r"^(\w+) '", str(refused.value), re.MULTILINE)
    assert named == ["project_slug", "domain_name", "author_email"]


def test_a_choice_that_is_not_on_offer_is_refused(tmp_path):
    with pytest.raises(Refused, match="wsgiref"):
        bake(tmp_path, asgi_server="wsgiref")


@cache
def template(key: str) -> Template:
    """Return what cookiecutter.json says of one of its keys."""
    asked = json.loads((ROOT / "cookiecutter.json").read_text())
    return StrictEnvironment(context={"cookiecutter": {}}).from_string(asked[key])


def rendered(key: str, **answers: str) -> str:
    """Return what becomes of a key of cookiecutter.json with these answers."""
    return template(key).render(cookiecutter=answers)


def test_whatever_is_answered_is_refused_in_a_line_for_each_question_or_taken(hook):
    questions = ("project_name", "project_slug", "domain_name", "author_email")
    seen = set()

    @often
    @given(some.fixed_dictionaries(dict.fromkeys(questions, texts)))
    def ask(answers):
        lines = list(hook.refusals(**answers))
        assert [line.split()[0] for line in lines] == sorted(
            {line.split()[0] for line in lines}, key=questions.index
        )
        assert all(line.isprintable() and line.endswith(".") for line in lines)
        seen.add(len(lines))

    ask()
    assert len(seen) > 1


def test_a_name_that_is_taken_is_the_same_in_python_and_stays_formatted(hook, tmp_path):
    taken = set()

    @often
    @given(texts | some.text(some.sampled_from("\"'\\漢x"), max_size=70))
    def ask(name):
        slug = rendered("project_slug", project_name=name)
        if refused := list(hook.refusals(**FINE | {"project_name": name})):
            assert len(refused) == 1
            return
        quote = rendered("__quote", project_name=name)
        literal = rendered("__project_name_literal", project_name=name, __quote=quote)
        assert ast.literal_eval(literal) == name
        assert len(slug) <= 50
        assert re.fullmatch("[a-z0-9]+(_[a-z0-9]+)*", slug)
        taken.add(literal)

    ask()
    assert len(taken) > 200
    source = tmp_path / "names.py"
    source.write_text("".join(f"PROJECT_NAME = {literal}\n" for literal in sorted(taken)))
    for check in (["format", "--check"], ["check", "--select=E,F,W"]):
        command = ["ruff", *check, "--isolated", "--no-cache", "--line-length=100", source]
        subprocess.run(command, check=True)


def mistyped(strategy: some.SearchStrategy[str]) -> some.SearchStrategy[str]:
    """Return what a strategy makes, as it is and with something put into it."""

    def put(text: str, inserted: str, place: int) -> str:
        return text[: place % (len(text) + 1)] + inserted + text[place % (len(text) + 1) :]

    return strategy | some.builds(
        put, strategy, some.text(characters, max_size=2), some.integers(0)
    )


def test_a_domain_or_address_that_is_taken_needs_no_quotes_anywhere(hook):
    taken = set()
    label = some.text("abz019-", min_size=1, max_size=9)
    domain = some.lists(label, min_size=1, max_size=4).map(".".join)
    local = some.text("aZ09_%+-.", min_size=1, max_size=9)

    @often
    @given(mistyped(domain), mistyped(some.builds("{}@{}".format, local, domain)))
    def ask(domain, address):
        answers = {"domain_name": domain, "author_email": address}
        lines = "".join(hook.refusals(**FINE | answers))
        for question, answer in answers.items():
            if question not in lines:
                taken.add(question)
                assert answer.isascii()
                assert shlex.split(answer) == [answer]
                assert yaml.safe_load(f"key: {answer}") == {"key": answer}
                url = urlsplit(f"http://{answer}/")
                assert url.hostname == answer.rpartition("@")[2]

    ask()
    assert taken == {"domain_name", "author_email"}


@pytest.mark.whole
def test_no_project_may_be_named_like_what_it_imports_or_depends_on(environment, project, hook):
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
