"""docs/grid.md, its summary in the README, and the figures of docs/reliability.md: what the last
whole run of the grid found.
"""

import ast
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.baking import CHOICES, ROOT

DOC = ROOT / "docs" / "grid.md"
README = ROOT / "README.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
SECTIONS = {
    "HTTP": ["test_http"],
    "WebSocket": ["test_websocket", "test_autobahn"],
    "Life": ["test_life"],
    "Nothing lost": ["test_nothing_lost"],
}
MODES = CHOICES["asgi_server"]
PACKAGES = ["channels", "django", "redis", *MODES, "uvicorn-worker", "wsproto", "autobahn"]
PASS = "✓"
NAMES = {
    "sigterm": "SIGTERM",
    "json": "JSON",
    "utf 8": "UTF-8",
    "max requests": "MAX_REQUESTS",
    "autobahn": "Autobahn",
    "redis": "Redis",
}
HEAD = """\
# The grid

What the contract promises, asked of each ASGI server: `make test` bakes a project with it, starts
the stack, and speaks to it from outside, through nginx. Each cell is a test of
[`tests/grid`](../tests/grid), named as its row is: {pass_} is a pass, a number is a reason, below.
The run writes this page when it was a whole one and nothing failed.

Last run: {date}, with {versions}.
"""

Cells = Mapping[tuple[str, str], str]
"""For a row and a mode: a pass, or the reason why not."""

Figures = Mapping[tuple[str, str], Mapping[str, str]]
"""For a row and a mode: what was counted, by the name of each figure."""


def rows(section: str) -> list[str]:
    """Return the names of the tests of a section, in their order."""
    folder = Path(__file__).parent
    modules = [ast.parse((folder / f"{name}.py").read_text()) for name in SECTIONS[section]]
    functions = [node for tree in modules for node in tree.body if hasattr(node, "args")]
    return [function.name for function in functions if function.name.startswith("test_")]


def is_whole(cells: Cells) -> bool:
    """Whether every row has a cell for every mode."""
    return all(
        (row, mode) in cells for section in SECTIONS for row in rows(section) for mode in MODES
    )


def sentence(row: str) -> str:
    """Return the name of a test as people read it."""
    text = row.removeprefix("test_").replace("_", " ")
    for word, proper in NAMES.items():
        text = text.replace(word, proper)
    return text[0].upper() + text[1:]


def versions() -> str:
    """Return the versions of the packages that matter, as the locks have them."""
    locks = "".join(
        (ROOT / "templates" / "locks" / f"{mode}-single-sqlite.txt").read_text() for mode in MODES
    )
    found = {package: re.search(rf"^{package}==(\S+)", locks, re.MULTILINE) for package in PACKAGES}
    return ", ".join(f"{package} {match[1]}" for package, match in found.items() if match)


def table(head: str, lines: list[list[str]]) -> str:
    """Return a Markdown table with a column for each mode."""
    heads = [f"| {' | '.join([head, *MODES])} |", "|---|" + ":-:|" * len(MODES)]
    return "\n".join([*heads, *(f"| {' | '.join(line)} |" for line in lines)])


def page(cells: Cells) -> str:
    """Return docs/grid.md."""
    reasons = list(dict.fromkeys(cell for cell in cells.values() if cell != PASS))
    marks = {reason: str(number) for number, reason in enumerate(reasons, 1)} | {PASS: PASS}
    parts = [HEAD.format(pass_=PASS, date=datetime.now(UTC).date(), versions=versions())]
    for section in SECTIONS:
        lines = [
            [sentence(row), *(marks[cells[row, mode]] for mode in MODES)] for row in rows(section)
        ]
        parts.append(table(section, lines) + "\n")
    parts += [f"{mark}. {reason}\n" for reason, mark in marks.items() if reason != PASS]
    return "\n".join(parts)


def summary(cells: Cells) -> str:
    """Return the README's table: for each section, how many rows a mode passes."""
    lines = []
    for section in SECTIONS:
        all_rows = rows(section)
        passed = [sum(cells[row, mode] == PASS for row in all_rows) for mode in MODES]
        lines.append([section, *(f"{count} of {len(all_rows)}" for count in passed)])
    return table("", lines)


def faults(figures: Figures) -> str:
    """Return the tables of docs/reliability.md: for each mode, a row for each fault."""
    tables = []
    for mode in MODES:
        lines = {row: figures[row, mode] for row in rows("Nothing lost") if (row, mode) in figures}
        names = next(iter(lines.values()))
        parts = [f"| {' | '.join([mode, *names])} |", "|---|" + "--:|" * len(names)]
        parts += [
            f"| {' | '.join([sentence(row), *line.values()])} |" for row, line in lines.items()
        ]
        tables.append("\n".join(parts))
    return "\n\n".join(tables)


def replace(path: Path, mark: str, text: str) -> None:
    """Put a text between two marks of a page."""
    between = rf"(?<=<!-- {mark} -->\n\n).*?(?=\n\n<!-- /{mark} -->)"
    path.write_text(re.sub(between, lambda _: text, path.read_text(), flags=re.DOTALL))


def write(cells: Cells, figures: Figures) -> None:
    """Write all of it."""
    DOC.write_text(page(cells))
    replace(README, "grid", summary(cells))
    replace(RELIABILITY, "faults", faults(figures))
