"""The supply chain: workflows, pinned versions and lists of contents (SBOM)."""

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
PROJECTS = [ROOT, BAKED]  # the workflow of a bake is copied without rendering


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command. Raises AssertionError with its output if it fails."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.whole
def test_workflow_passes(project, tmp_path):
    """The baked project's workflow passes its test job."""
    not_in_git = shutil.ignore_patterns(".env", "secrets")
    copy = shutil.copytree(project, tmp_path / "project", ignore=not_in_git)
    outputs = {
        step.command: step.run(copy, PYTEST_ADDOPTS="-W error -p no:cacheprovider")
        for step in workflow.steps(copy, "test")
    }
    assert re.search(r"^=* ?[1-9]\d\d passed", outputs["uv run pytest"], re.MULTILINE)
    assert re.search(r"^. pass [1-9]", outputs["node --test"], re.MULTILINE)


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


def test_unpinned_lock_is_detected():
    """A lock without a hash or an exact version is detected."""
    good = "django==5.2.19 ; python_version >= '3.11' \\\n    --hash=sha256:" + "a" * 64
    assert locked(f"# by hand\n{good}\n    # via x\n") == {"django": "5.2.19"}
    for bad in (good.replace("==", ">="), good.partition(" \\")[0], "-r other.txt"):
        with pytest.raises(AssertionError):
            locked(bad)


def test_locks_are_pinned():
    """Every package has an exact version and hashes."""
    for lock in [*locks.LOCKS.iterdir(), ROOT / "requirements.txt"]:
        assert len(locked(lock.read_text())) > 20, lock.name


@pytest.mark.only(asgi_server="gunicorn", topology="single", database="postgres")
def test_sbom(project, tmp_path):
    """The workflow's list of contents (SBOM) has exactly the locked packages."""
    copy = shutil.copytree(project, tmp_path / "project")
    # The other step needs PyPI's JSON API, which not every index has.
    make_list, _ = workflow.steps(copy, "packages")
    make_list.run(copy)
    listed = json.loads((copy / "packages.cdx.json").read_text())
    assert listed["bomFormat"] == "CycloneDX"
    versions = {part["name"]: part["version"] for part in listed["components"]}
    assert versions == locked((copy / "requirements.txt").read_text())
    assert all(part["externalReferences"][0]["hashes"] for part in listed["components"])


def test_zizmor():
    """zizmor finds nothing wrong with the workflows."""
    for project in PROJECTS:
        assert workflow.jobs(project)
        run("zizmor", "--offline", "--quiet", "--persona=auditor", project / ".github")


def test_actions_are_pinned():
    """Every action is pinned to one commit in all workflows."""
    pinned: dict[str, str] = {}
    for project in PROJECTS:
        for line in re.findall(r"\buses:.*", workflow.text(project)):
            action, commit, version = re.fullmatch(
                r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)", line
            ).groups()
            assert pinned.setdefault(action, (commit, version)) == (commit, version)
    assert "actions/checkout" in pinned


def images(project: Path) -> set[str]:
    """Return the images that a project builds on or runs, except for those that it builds."""
    dockerfile = (project / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM .* AS (\w+)$", dockerfile, re.MULTILINE))
    found = set(re.findall(r"(?:^FROM (?:--\S+ )*|--from=)(\S+)", dockerfile, re.MULTILINE))
    for compose in project.glob("compose*.yaml"):
        services = yaml.safe_load(compose.read_text()).get("services", {}).values()
        found |= {service["image"] for service in services if "image" in service}
    name = yaml.safe_load((project / "compose.yaml").read_text())["name"]
    return {image for image in found - stages if not image.startswith(f"{name}-")}


def test_image_versions(project):
    """Every image has a version."""
    assert {"nginx", "redis"} <= {image.partition(":")[0] for image in images(project)}
    for image in images(project):
        _, _, tag = image.rpartition("/")[2].partition(":")
        assert re.match(r"v?\d", tag), image


def shell_scripts(*folders: Path) -> list[Path]:
    """Return the shell scripts in these folders, by their suffix or their first line."""
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
    """Run shellcheck; sourced files without a shebang are checked as dash."""
    for script in scripts:
        dialect = [] if script.read_bytes().startswith(b"#!") else ["--shell=dash"]
        run("shellcheck", *dialect, script)


def test_shell_scripts(project):
    """The baked shell scripts pass shellcheck."""
    assert shell_scripts(project)
    shellcheck(*shell_scripts(project))


def test_template_shell_scripts():
    """The template's own shell scripts pass shellcheck."""
    scripts = shell_scripts(ROOT / ".ci", ROOT / "tests")
    assert ROOT / ".ci" / "run" in scripts
    shellcheck(*scripts)


def test_workflow_commands(tmp_path):
    """The commands of the workflows pass shellcheck."""
    script = tmp_path / "step"
    for project in PROJECTS:
        for step in (
            step for job in workflow.jobs(project) for step in workflow.steps(project, job)
        ):
            script.write_text(f"#!/bin/bash\n{step.command}\n")
            shellcheck(script)


def test_template_yaml():
    """The template's own workflow passes yamllint."""
    run("yamllint", "--strict", "-d", YAMLLINT, ".github")
