"""The Python versions that pyproject.toml allows, besides the image's and this machine's."""

import shutil

import docker
import pytest

from tests.docker import images


@pytest.mark.whole
@pytest.mark.parametrize("version", ["3.14"])
def test_python_version(engine, project, version, tmp_path):
    """The baked tests pass on the other Python versions that pyproject.toml allows."""
    image = f"python:{version}-slim-trixie"
    images.ensure([image])
    copy = shutil.copytree(project, tmp_path / "project")
    install = "pip install --quiet --root-user-action=ignore --require-hashes"
    output = docker.from_env().containers.run(
        image,
        ["sh", "-ec", f"{install} -r requirements-dev.txt; python -m pytest -q -W error"],
        volumes={str(copy): {"bind": "/project", "mode": "rw"}},
        working_dir="/project",
        remove=True,
        stderr=True,
    )
    assert " passed" in output.decode()
    assert " failed" not in output.decode()
