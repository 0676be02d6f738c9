"""The Autobahn fuzzing client, which tries a WebSocket server with every odd frame there is.

    python -m tests.grid.autobahn http://localhost:8000 --cases '9.*'

https://github.com/crossbario/autobahn-testsuite. Sections 12 and 13 are about compression: without
it, all that they tell is UNIMPLEMENTED. Section 9 sends messages of up to 16 MiB, more than
WS_MAX_MESSAGE_BYTES allows unless it is raised.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import urlsplit

from tests.lab import engine, host, images

IMAGE = "crossbario/autobahn-testsuite:25.10.1"
ECHO = "/ws/echo/"

# It reads what to do from a file and leaves a report for each case; the summary is enough here.
# Through pipes, because what it wrote to a folder of this machine might belong to root.
COMMAND = "wstest -m fuzzingclient -s /dev/stdin >&2 && cat /reports/index.json"

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


@dataclass(frozen=True)
class Verdict:
    """What the suite has to say about one case.

    `behavior` and `close` are OK, NON-STRICT (conforming, but not as one should), INFORMATIONAL
    (left open by the standard), or something that a server can do without.
    """

    behavior: str
    close: str
    """How the connection ended. FAILED and UNCLEAN are red in the suite's own report; WRONG CODE
    and FAILED BY CLIENT (which had to hang up, and that is for the server to do) are softer."""
    code: int | None
    """The close code that the server sent."""

    @property
    def passed(self) -> bool:
        """Whether neither is a failure."""
        return {self.behavior, self.close} <= PASSED

    def __str__(self) -> str:
        return f"{self.behavior}, closing {self.close} with {self.code}"


def fuzz(
    url: str,
    *,
    origin: str,
    cases: Iterable[str] = ("*",),
    exclude: Iterable[str] = (),
    agent: str = "server",
) -> dict[str, Verdict]:
    """Run the suite's client against a server that echoes, and return what it says of each case.

    Args:
        url: the echo, as in ws://localhost:8000/ws/echo/. This machine's localhost.
        origin: the Origin header, which a server may insist on.
        cases: those to run, as in 1.1.1 or 9.*
        exclude: those of them not to run.
        agent: what the suite calls the server.

    Raises:
        AssertionError: the suite did not run, or reached no server; the message is its output.
    """
    server = {"url": url, "origin": origin, "agent": agent}
    todo = {
        "outdir": "/reports",
        "servers": [server],
        "cases": list(cases),
        "exclude-cases": list(exclude),
    }
    options = ["--rm", "--init", "--interactive", "--network=host"]
    done = subprocess.run(
        ["docker", "run", *options, IMAGE, "sh", "-c", COMMAND],
        input=json.dumps(todo),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert agent in report, done.stderr
    return {
        case: Verdict(said["behavior"], said["behaviorClose"], said["remoteCloseCode"])
        for case, said in sorted(report[agent].items(), key=lambda item: numbers(item[0]))
    }


def numbers(case: str) -> list[int]:
    """Return what cases are sorted by: 9 comes before 10."""
    return [int(number) for number in case.split(".")]


def failures(verdicts: dict[str, Verdict]) -> list[str]:
    """Return a line for each case that failed."""
    return [f"{case}: {verdict}" for case, verdict in verdicts.items() if not verdict.passed]


def table(verdicts: dict[str, Verdict]) -> str:
    """Return a line for each section: how many cases of it ended how."""
    lines = []
    for section, items in groupby(verdicts.items(), key=lambda item: numbers(item[0])[0]):
        ends = Counter(verdict.behavior for _, verdict in items)
        counts = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        lines.append(f"{section:>5}  {counts}")
    return "\n".join([*lines, f"total  {len(verdicts)}"])


def main() -> None:
    """Run the command line. Exits with 1 when a case fails, or nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.grid.autobahn", description=__doc__)
    parser.add_argument("url", help="a site, as in http://localhost:8000")
    parser.add_argument("--cases", nargs="+", default=["*"], help="as in 1.1.1 or '9.*'")
    parser.add_argument("--exclude", nargs="+", default=[], help="those of them not to run")
    arguments = parser.parse_args()
    place = urlsplit(arguments.url).netloc
    try:
        found = engine.current()
        if found is None:
            raise engine.NoEngine("no Docker Engine answers: run `python -m tests.lab up`")
        os.environ.update(found.env)
        images.ensure([IMAGE])
        verdicts = fuzz(
            f"ws://{place}{ECHO}",
            origin=f"http://{place}",
            cases=arguments.cases,
            exclude=arguments.exclude,
        )
    except (host.LabError, AssertionError) as error:
        sys.exit(f"autobahn: {error}")
    print(table(verdicts))
    if failed := failures(verdicts):
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
