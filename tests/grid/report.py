"""Write docs/grid.md, its summary in the README, and the figures of docs/reliability.md."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.baking import CONFIGURATION, PAIRWISE, ROOT, WHOLE, Combination, requirements
from tests.docs import sentences

DOC = ROOT / "docs" / "grid.md"
README = ROOT / "README.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
PASS = "✓"
HEAD = """\
# The grid

Behaviours of baked projects, tested on combinations of choices. `make test` bakes a project for
each column, starts its stack and tests it from outside, through nginx. Each row is a test of
[`tests/grid`](../tests/grid); its text is the first line of the test's docstring. {pass_} means
that it passed; a number refers to a reason below. Any two choices are together in at least one
column; the longer tests run for some columns only. `make test-all` runs every test for every
combination. This page is written by a complete run in which no test of the grid failed.

Last run: {date}, with {versions}.
"""

Cells = Mapping[tuple[str, str], str]
"""For a test and a column: a pass, or the reason why not."""

Figures = Mapping[tuple[str, str], Mapping[str, str]]
"""For a test and a column: the figures by name."""


def column(combination: Combination) -> str:
    """Return the name of a column: uvicorn-single-sqlite."""
    return "-".join(combination[key] for key in ("asgi_server", "topology", "database"))


@dataclass(frozen=True)
class Section:
    """A part of the grid: its modules and its columns."""

    modules: list[str]
    columns: list[str]

    def rows(self) -> dict[str, str]:
        """Return its tests, in their order, and their sentences."""
        paths = [Path(__file__).with_name(f"{name}.py") for name in self.modules]
        return {test: text for path in paths for test, text in sentences(path).items()}


COLUMNS = [column(combination) for combination in PAIRWISE]
WHOLE_COLUMNS = [column(combination) for combination in WHOLE]
SECTIONS = {
    "HTTP": Section(["test_http"], COLUMNS),
    "WebSocket": Section(["test_websocket", "test_autobahn"], COLUMNS),
    "Processes": Section(["test_processes"], WHOLE_COLUMNS),
    "Recovery": Section(["test_recovery"], WHOLE_COLUMNS),
}


def expected() -> set[tuple[str, str]]:
    """Return the cells of a complete grid, by test and column."""
    return {
        (row, column)
        for section in SECTIONS.values()
        for row in section.rows()
        for column in section.columns
    }


def sentence(row: str) -> str:
    """Return the sentence of a test of the grid."""
    (text,) = (section.rows()[row] for section in SECTIONS.values() if row in section.rows())
    return text


def versions() -> str:
    """Return the versions of the main packages, from the locks."""
    packages = ["channels", "django", "redis", "autobahn"]
    packages += [name for choice in CONFIGURATION["_requirements"] for name in requirements(choice)]
    folder = ROOT / "templates" / "locks"
    locks = "".join((folder / f"{column}.txt").read_text() for column in COLUMNS)
    found = {package: re.search(rf"^{package}==(\S+)", locks, re.MULTILINE) for package in packages}
    return ", ".join(f"{package} {match[1]}" for package, match in found.items() if match)


def table(heads: list[str], lines: list[list[str]], align: str = ":-:") -> str:
    """Return a Markdown table; `align` is the alignment of all columns but the first."""
    rule = f"|---|{f'{align}|' * (len(heads) - 1)}"
    return "\n".join([f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(x)} |" for x in lines)])


def page(cells: Cells) -> str:
    """Return docs/grid.md."""
    reasons = list(dict.fromkeys(cells[cell] for cell in sorted(expected()) if cells[cell] != PASS))
    marks = {reason: str(number) for number, reason in enumerate(reasons, 1)} | {PASS: PASS}
    parts = [HEAD.format(pass_=PASS, date=datetime.now(UTC).date(), versions=versions())]
    for name, section in SECTIONS.items():
        heads = [name, *(column.replace("-", "<br>") for column in section.columns)]
        lines = [
            [text, *(marks[cells[row, column]] for column in section.columns)]
            for row, text in section.rows().items()
        ]
        parts.append(table(heads, lines) + "\n")
    parts += [f"{marks[reason]}. {reason}\n" for reason in reasons]
    return "\n".join(parts)


def passed(cells: Cells, section: Section, column: str) -> str:
    """Return the count of a section's rows that a column passes; empty if it has no such column."""
    if column not in section.columns:
        return ""
    rows = section.rows()
    return f"{sum(cells[row, column] == PASS for row in rows)} of {len(rows)}"


def summary(cells: Cells) -> str:
    """Return the README's table: for each column, the passed rows of each section."""
    lines = [
        [
            column.replace("-", ", "),
            *(passed(cells, section, column) for section in SECTIONS.values()),
        ]
        for column in COLUMNS
    ]
    return table(["", *SECTIONS], lines)


def faults(figures: Figures) -> str:
    """Return the tables of docs/reliability.md: for each column, a row for each fault."""
    tables = []
    for column in WHOLE_COLUMNS:
        rows = SECTIONS["Recovery"].rows()
        rows = {row: text for row, text in rows.items() if (row, column) in figures}
        lines = [[text, *figures[row, column].values()] for row, text in rows.items()]
        heads = [column.replace("-", ", "), *figures[next(iter(rows)), column]]
        tables.append(table(heads, lines, align="--:"))
    return "\n\n".join(tables)


def replace(path: Path, mark: str, text: str) -> None:
    """Replace the text between two marks of a page."""
    between = rf"(?<=<!-- {mark} -->\n\n).*?(?=\n\n<!-- /{mark} -->)"
    path.write_text(re.sub(between, lambda _: text, path.read_text(), flags=re.DOTALL))


def write(cells: Cells, figures: Figures) -> None:
    """Write the page and the tables."""
    DOC.write_text(page(cells))
    replace(README, "grid", summary(cells))
    replace(RELIABILITY, "faults", faults(figures))
