"""What may be answered, and what is refused."""

import ast
import re
import subprocess
import tomllib
from importlib.metadata import Distribution
from pathlib import Path

import pytest
import yaml

from tests.baking import ROOT, Refused, bake

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
]


@pytest.mark.parametrize("project_name", NAMES)
def test_a_project_may_have_any_name(project_name, tmp_path):
    project = bake(tmp_path, project_name=project_name, project_slug="any_name")
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
    for source in project.glob("*.yaml"):
        yaml.safe_load(source.read_text())
    formatter = ["ruff", "format", "--check", "--quiet", "--config", project / "pyproject.toml"]
    subprocess.run([*formatter, project], check=True)


def test_a_name_of_no_letters_gets_a_slug_all_the_same(tmp_path):
    assert bake(tmp_path, project_name="🚀").name == "my_project"


REFUSED = {
    "project_slug": [
        *("1st_project", "my-project", "my project", "MyProject", "_private", "trailing_", "a__b"),
        *("class", "json", "test", "django", "channels", "uvicorn", "config", "../up", "naïve"),
    ],
    "project_name": [" ", "two\nlines", "tab\there", "line\u2028separator", "x" * 71],
    "domain_name": ["http://example.com", "example.com:8000", "exa mple.com", "example", "-a.com"]
    + ["a..com", "1.2.3.4", "example.com/path", f"{'a' * 64}.com", f"{'a.' * 130}com", ""],
    "author_email": ["nobody", "@example.com", "a@b", "a b@example.com", "'a'@example.com", ""],
}


@pytest.mark.parametrize(
    ("question", "answer"),
    [(question, answer) for question, answers in REFUSED.items() for answer in answers],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_answer_is_refused_with_one_line_and_nothing_is_left_behind(
    question, answer, tmp_path
):
    answers = {"project_slug": "fine", "author_email": "me@example.com"} | {question: answer}
    with pytest.raises(Refused) as refused:
        bake(tmp_path, **answers)
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


@pytest.mark.whole
def test_no_project_may_be_named_like_what_it_imports_or_depends_on(environment: Path, project):
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
    namespace: dict = {}
    hook = (ROOT / "hooks" / "pre_gen_project.py").read_text()
    exec("import sys\n" + hook[hook.index("TAKEN =") : hook.index("SLUG =")], namespace)
    possible = {name for name in imported | locked | own if re.fullmatch("[a-z][a-z0-9_]*", name)}
    assert "django" in possible
    assert possible - namespace["TAKEN"] == set()
