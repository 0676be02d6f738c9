"""What a baked project's workflow does with Docker."""

import shutil
from dataclasses import replace

import pytest

from tests import workflow
from tests.baking import bake
from tests.conftest import slug
from tests.lab import images
from tests.stack import Stack, base_images, free_port


def test_docker_finds_nothing_wrong_with_its_dockerfile(stack):
    check, *_ = workflow.steps(stack.project, "stack")
    assert check.command.startswith("docker build --check")
    assert "no warnings found" in check.run(stack.project)


@pytest.mark.only(asgi_server="gunicorn", topology="single", database="postgres")
def test_its_workflow_boots_the_stack_out_of_a_fresh_clone(engine, aloud, combination, tmp_path):
    project = bake(tmp_path, project_slug=slug("ci", combination), **combination)
    (project / ".env").unlink()
    shutil.rmtree(project / "secrets")
    stack = Stack(project, free_port())
    with aloud():
        images.ensure(base_images(project))
    # All but the last, whose images are attested to by programs out of a registry.
    *booting, _ = workflow.steps(project, "stack")
    try:
        said = [
            replace(step, command=step.command.replace(":8000", f":{stack.port}")).run(
                project, HTTP_PORT=str(stack.port)
            )
            for step in booting
        ]
    finally:
        stack.down()
    assert '{"database": true, "redis": true}' in said[3]
    assert "postgres-1" in said[4], "the logs, which are only shown after a failure"
