"""Where everything comes from: workflows, pinned versions, lists of what is inside."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import locks, workflow
from tests.bake.test_output import YAMLLINT
from tests.baking import ROOT

BAKED = ROOT / "{{cookiecutter.project_slug}}"
PROJECTS = [ROOT, BAKED]  # whose workflows are copied as they are


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command. Raises AssertionError with what it prints if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.whole
def test_its_workflow_passes_its_tests(project, tmp_path):
    not_in_git = shutil.ignore_patterns(".env", "secrets")
    copy = shutil.copytree(project, tmp_path / "project", ignore=not_in_git)
    said = {
        step.command: step.run(copy, PYTEST_ADDOPTS="-W error -p no:cacheprovider")
        for step in workflow.steps(copy, "test")
    }
    assert re.search(r"^=* ?[1-9]\d\d passed", said["uv run pytest"], re.MULTILINE)
    assert re.search(r"^. pass [1-9]", said["node --test"], re.MULTILINE)


def locked(lock: str) -> dict[str, str]:
    """Return the packages of a lock and their versions.

    Raises:
        AssertionError: one has no exact version, or no hash.
    """
    text = re.sub(r"^ *#.*\n", "", lock, flags=re.MULTILINE).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement = re.fullmatch(
            r"([\w.-]+)==([\w.!+]+)( ; [^#]+?)?( +--hash=sha256:[0-9a-f]{64})+", line.strip()
        )
        assert requirement, line[:100]
        found[requirement[1]] = requirement[2]
    return found


def test_a_lock_without_a_hash_or_an_exact_version_is_seen():
    good = "django==5.2.19 ; python_version >= '3.11' \\\n    --hash=sha256:" + "a" * 64
    assert locked(f"# by hand\n{good}\n    # via x\n") == {"django": "5.2.19"}
    for bad in (good.replace("==", ">="), good.partition(" \\")[0], "-r other.txt"):
        with pytest.raises(AssertionError):
            locked(bad)


def test_every_package_has_an_exact_version_and_hashes():
    for lock in [*locks.LOCKS.iterdir(), ROOT / "requirements.txt"]:
        assert len(locked(lock.read_text())) > 20, lock.name


@pytest.mark.only(asgi_server="gunicorn", topology="single", database="postgres")
def test_its_workflow_lists_the_packages_that_it_locks(project, tmp_path):
    copy = shutil.copytree(project, tmp_path / "project")
    # The other step asks PyPI's JSON interface, which not every index has.
    made, _ = workflow.steps(copy, "packages")
    made.run(copy)
    listed = json.loads((copy / "packages.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    versions = {part["name"]: part["version"] for part in listed["components"]}
    assert versions == locked((copy / "requirements.txt").read_text())
    assert all(part["externalReferences"][0]["hashes"] for part in listed["components"])


def test_workflows_are_safe():
    for project in PROJECTS:
        assert workflow.jobs(project)
        run("zizmor", "--offline", "--quiet", "--persona=auditor", project / ".github")


def test_actions_are_pinned_to_commits_and_the_same_one_everywhere():
    pinned: dict[str, str] = {}
    for project in PROJECTS:
        for line in re.findall(r"\buses:.*", workflow.text(project)):
            action, commit, version = re.fullmatch(
                r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line
            ).groups()
            assert pinned.setdefault(action, (commit, version)) == (commit, version)
    assert "actions/checkout" in pinned


def images(project: Path) -> set[str]:
    """Return the images that a project starts from or runs, without those that it builds."""
    dockerfile = (project / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM .* AS (\w+)$", dockerfile, re.MULTILINE))
    found = set(re.findall(r"(?:^FROM (?:--\S+ )*|--from=)(\S+)", dockerfile, re.MULTILINE))
    for compose in project.glob("compose*.yaml"):
        services = yaml.safe_load(compose.read_text()).get("services", {}).values()
        found |= {service["image"] for service in services if "image" in service}
    name = yaml.safe_load((project / "compose.yaml").read_text())["name"]
    return {image for image in found - stages if not image.startswith(f"{name}-")}


def test_images_have_a_version(project):
    assert {"nginx", "redis"} <= {image.partition(":")[0] for image in images(project)}
    for image in images(project):
        _, _, tag = image.rpartition("/")[2].partition(":")
        assert re.match(r"v?\d", tag), image


def shell_scripts(*folders: Path) -> list[Path]:
    """Return what is a shell script, by its name or its first line."""
    return [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file()
        and (
            file.suffix in {".sh", ".envsh"}
            or re.match(rb"#!.*\b(ba|da)?sh\b", file.read_bytes()[:80])
        )
    ]


def shellcheck(*scripts: Path) -> None:
    """Run shellcheck; what is only sourced and names no shell is for any."""
    for script in scripts:
        dialect = [] if script.read_bytes().startswith(b"#!") else ["--shell=dash"]
        run("shellcheck", *dialect, script)


def test_shell_scripts_are_clean(project):
    assert shell_scripts(project)
    shellcheck(*shell_scripts(project))


def test_shell_scripts_of_the_template_are_clean():
    scripts = shell_scripts(ROOT / ".ci", ROOT / "tests")
    assert ROOT / ".ci" / "run" in scripts
    shellcheck(*scripts)


def test_the_commands_of_workflows_are_clean(tmp_path):
    script = tmp_path / "step"
    for project in PROJECTS:
        for step in (
            step for job in workflow.jobs(project) for step in workflow.steps(project, job)
        ):
            script.write_text(f"#!/bin/bash\n{step.command}\n")
            shellcheck(script)


def test_the_template_has_clean_yaml():
    run("yamllint", "--strict", "-d", YAMLLINT, ".github")
