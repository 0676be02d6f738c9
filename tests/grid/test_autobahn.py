"""What the server does with every frame that the standard has something to say about."""

from tests.grid import autobahn
from tests.lab import images


def test_the_echo_passes_the_247_cases_of_the_autobahn_suite(stack, aloud):
    with aloud():
        images.ensure([autobahn.IMAGE])
    verdicts = autobahn.fuzz(
        f"ws://localhost:{stack.port}{autobahn.ECHO}",
        origin=stack.url,
        # Large messages, and compression, which is off.
        exclude=["9.*", "12.*", "13.*"],
        agent=stack.project.name,
    )
    assert len(verdicts) == 247
    assert not (failed := autobahn.failures(verdicts)), "\n".join(failed)
