"""The Docker jobs of a baked project's workflow."""

import shutil
from dataclasses import replace

import pytest

from tests import workflow
from tests.baking import bake
from tests.conftest import slug
from tests.docker import images
from tests.stack import Stack, base_images, free_port


def test_dockerfile(stack):
    """`docker build --check` finds nothing wrong with the Dockerfile."""
    check, *_ = workflow.steps(stack.project, "stack")
    assert check.command.startswith("docker build --check")
    assert "no warnings found" in check.run(stack.project)


@pytest.mark.only(asgi_server="gunicorn", topology="single", database="postgres")
def test_workflow_boots_stack(engine, uncaptured, combination, tmp_path):
    """The workflow boots the stack from a fresh clone."""
    project = bake(tmp_path, project_slug=slug("ci", combination), **combination)
    (project / ".env").unlink()
    shutil.rmtree(project / "secrets")
    stack = Stack(project, free_port())
    with uncaptured():
        images.ensure(base_images(project))
    # All but the last step, which downloads programs from a registry to attest images.
    *booting, _ = workflow.steps(project, "stack")
    try:
        outputs = [
            replace(step, command=step.command.replace(":8000", f":{stack.port}")).run(
                project, HTTP_PORT=str(stack.port)
            )
            for step in booting
        ]
    finally:
        stack.down()
    assert '{"database": true, "redis": true}' in outputs[3]
    assert "postgres-1" in outputs[4], "the logs, which the workflow shows only after a failure"
