"""Run the Autobahn test suite's fuzzing client against a WebSocket server.

    python -m tests.grid.autobahn http://localhost:8000 --cases '9.*'

https://github.com/crossbario/autobahn-testsuite. Sections 12 and 13 are about compression: without
it, they report UNIMPLEMENTED. Section 9 sends messages of up to 16 MiB, more than
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

from tests.docker import engine, host, images

IMAGE = "crossbario/autobahn-testsuite:25.10.1"
ECHO = "/ws/echo/"

# It reads its specification from a file and writes a report for each case; we need the summary.
# Both go through pipes: files written to a mounted folder might belong to root.
COMMAND = "wstest -m fuzzingclient -s /dev/stdin >&2 && cat /reports/index.json"

PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}


@dataclass(frozen=True)
class Verdict:
    """The result of one case.

    `behavior` and `close` are OK, NON-STRICT (conforming, but not recommended), INFORMATIONAL
    (left open by the standard), or a failure.
    """

    behavior: str
    close: str
    """How the connection ended. The suite's own report shows FAILED and UNCLEAN in red; WRONG CODE
    and FAILED BY CLIENT (the client had to close, which is the server's task) are warnings."""
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
    """Run the suite's client against an echo endpoint, and return a verdict for each case.

    Args:
        url: the echo endpoint, as in ws://localhost:8000/ws/echo/, on this machine.
        origin: the Origin header.
        cases: those to run, as in 1.1.1 or 9.*
        exclude: those not to run.
        agent: the server's name in the report.

    Raises:
        AssertionError: the suite did not run, or reached no server; the message is its output.
    """
    server = {"url": url, "origin": origin, "agent": agent}
    specification = {
        "outdir": "/reports",
        "servers": [server],
        "cases": list(cases),
        "exclude-cases": list(exclude),
    }
    options = ["--rm", "--init", "--interactive", "--network=host"]
    done = subprocess.run(
        ["docker", "run", *options, IMAGE, "sh", "-c", COMMAND],
        input=json.dumps(specification),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert agent in report, done.stderr
    return {
        case: Verdict(result["behavior"], result["behaviorClose"], result["remoteCloseCode"])
        for case, result in sorted(report[agent].items(), key=lambda item: numbers(item[0]))
    }


def numbers(case: str) -> list[int]:
    """Return the sort key of a case: 9 comes before 10."""
    return [int(number) for number in case.split(".")]


def failures(verdicts: dict[str, Verdict]) -> list[str]:
    """Return a line for each case that failed."""
    return [f"{case}: {verdict}" for case, verdict in verdicts.items() if not verdict.passed]


def table(verdicts: dict[str, Verdict]) -> str:
    """Return a line for each section: the number of its cases by result."""
    lines = []
    for section, items in groupby(verdicts.items(), key=lambda item: numbers(item[0])[0]):
        ends = Counter(verdict.behavior for _, verdict in items)
        counts = ", ".join(f"{count} {end}" for end, count in ends.most_common())
        lines.append(f"{section:>5}  {counts}")
    return "\n".join([*lines, f"total  {len(verdicts)}"])


def main() -> None:
    """Run the command line. Exits with 1 when a case fails or the suite could not run."""
    parser = argparse.ArgumentParser(prog="python -m tests.grid.autobahn", description=__doc__)
    parser.add_argument("url", help="a site, as in http://localhost:8000")
    parser.add_argument("--cases", nargs="+", default=["*"], help="as in 1.1.1 or '9.*'")
    parser.add_argument("--exclude", nargs="+", default=[], help="those not to run")
    arguments = parser.parse_args()
    place = urlsplit(arguments.url).netloc
    try:
        found = engine.current()
        if found is None:
            raise engine.NoEngine("no Docker Engine answers: run `python -m tests.docker up`")
        os.environ.update(found.env)
        images.ensure([IMAGE])
        verdicts = fuzz(
            f"ws://{place}{ECHO}",
            origin=f"http://{place}",
            cases=arguments.cases,
            exclude=arguments.exclude,
        )
    except (host.DockerHostError, AssertionError) as error:
        sys.exit(f"autobahn: {error}")
    print(table(verdicts))
    if failed := failures(verdicts):
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
