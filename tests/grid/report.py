"""docs/grid.md, its summary in the README, and the figures of docs/reliability.md: what the last
whole run of the grid found.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.baking import PAIRWISE, ROOT, WHOLE, Combination

DOC = ROOT / "docs" / "grid.md"
README = ROOT / "README.md"
RELIABILITY = ROOT / "docs" / "reliability.md"
PACKAGES = ["channels", "django", "redis", "uvicorn", "gunicorn", "daphne", "hypercorn"]
PACKAGES += ["uvicorn-worker", "wsproto", "autobahn", "psycopg"]
PASS = "✓"
NAMES = {
    "sigterm": "SIGTERM",
    "json": "JSON",
    "utf 8": "UTF-8",
    "max requests": "MAX_REQUESTS",
    "autobahn": "Autobahn",
    "redis": "Redis",
    "https": "HTTPS",
    "http": "HTTP",
    "tls": "TLS",
    " url": " URL",
}
HEAD = """\
# The grid

What the contract promises, asked of what can be baked: `make test` bakes a project for each column,
starts the stack, and speaks to it from outside, through nginx. Each cell is a test of
[`tests/grid`](../tests/grid), named as its row is: {pass_} is a pass, a number is a reason, below.
The columns have every two choices together at least once; the longer tests are asked of some of
them. `make test-all` asks all of every combination. A whole run of the grid in which none of its
tests failed writes this page.

Last run: {date}, with {versions}.
"""

Cells = Mapping[tuple[str, str], str]
"""For a row and a column: a pass, or the reason why not."""

Figures = Mapping[tuple[str, str], Mapping[str, str]]
"""For a row and a column: what was counted, by the name of each figure."""


def column(combination: Combination) -> str:
    """Return the name of a column: uvicorn-single-sqlite."""
    return "-".join(combination[key] for key in ("asgi_server", "topology", "database"))


@dataclass(frozen=True)
class Section:
    """A part of the grid: the modules that it is made of, and its columns."""

    modules: list[str]
    columns: list[str]

    def rows(self) -> list[str]:
        """Return the names of its tests, in their order."""
        folder = Path(__file__).parent
        trees = [ast.parse((folder / f"{name}.py").read_text()) for name in self.modules]
        functions = [node for tree in trees for node in tree.body if hasattr(node, "args")]
        return [function.name for function in functions if function.name.startswith("test_")]


COLUMNS = [column(combination) for combination in PAIRWISE]
WHOLE_COLUMNS = [column(combination) for combination in WHOLE]
SECTIONS = {
    "HTTP": Section(["test_http"], COLUMNS),
    "WebSocket": Section(["test_websocket", "test_autobahn"], COLUMNS),
    "Life": Section(["test_life"], WHOLE_COLUMNS),
    "Nothing lost": Section(["test_nothing_lost"], WHOLE_COLUMNS),
}


def expected() -> set[tuple[str, str]]:
    """Return the cells of a whole grid."""
    return {
        (row, column)
        for section in SECTIONS.values()
        for row in section.rows()
        for column in section.columns
    }


def sentence(row: str) -> str:
    """Return the name of a test as people read it."""
    text = row.removeprefix("test_").replace("_", " ")
    for word, proper in NAMES.items():
        text = text.replace(word, proper)
    return text[0].upper() + text[1:]


def versions() -> str:
    """Return the versions of the packages that matter, as the locks have them."""
    folder = ROOT / "templates" / "locks"
    locks = "".join((folder / f"{column}.txt").read_text() for column in COLUMNS)
    found = {package: re.search(rf"^{package}==(\S+)", locks, re.MULTILINE) for package in PACKAGES}
    return ", ".join(f"{package} {match[1]}" for package, match in found.items() if match)


def table(heads: list[str], lines: list[list[str]], align: str = ":-:") -> str:
    """Return a Markdown table; all columns but the first are aligned as it says."""
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
            [sentence(row), *(marks[cells[row, column]] for column in section.columns)]
            for row in section.rows()
        ]
        parts.append(table(heads, lines) + "\n")
    parts += [f"{marks[reason]}. {reason}\n" for reason in reasons]
    return "\n".join(parts)


def passed(cells: Cells, section: Section, column: str) -> str:
    """Return how many rows of a section a column passes, or that it is not asked."""
    if column not in section.columns:
        return ""
    rows = section.rows()
    return f"{sum(cells[row, column] == PASS for row in rows)} of {len(rows)}"


def summary(cells: Cells) -> str:
    """Return the README's table: for each column, how many rows of each section it passes."""
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
        rows = [row for row in SECTIONS["Nothing lost"].rows() if (row, column) in figures]
        lines = [[sentence(row), *figures[row, column].values()] for row in rows]
        heads = [column.replace("-", ", "), *figures[rows[0], column]]
        tables.append(table(heads, lines, align="--:"))
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
