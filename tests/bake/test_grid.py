"""The booted combinations, and the page that a run of the grid writes."""

import re
from itertools import combinations

from tests.baking import CHOICES, PAIRWISE
from tests.baking import combinations as every_combination
from tests.grid import report


def pairs(chosen: list[dict[str, str]]) -> set[tuple]:
    """Return all pairs of choices that these combinations contain."""
    return {pair for one in chosen for pair in combinations(one.items(), 2)}


def test_pairwise_combinations():
    """Any two choices are booted together."""
    assert pairs(PAIRWISE) == pairs(every_combination())
    assert len(pairs(PAIRWISE)) > len(CHOICES["asgi_server"])


def cells() -> dict[tuple[str, str], str]:
    """Return the cells of docs/grid.md."""
    found = {}
    for table in re.findall(r"(?:^\|.+\n)+", report.DOC.read_text(), re.MULTILINE):
        heads, _, *lines = [line.strip("| ").split(" | ") for line in table.strip().splitlines()]
        columns = [head.replace("<br>", "-") for head in heads[1:]]
        for row, *marks in lines:
            found |= {(row, col): mark for col, mark in zip(columns, marks, strict=True)}
    return found


def test_grid_rows():
    """docs/grid.md has a row for every test of the grid, and no other rows."""
    expected = {(report.sentence(row), column) for row, column in report.expected()}
    assert cells().keys() == expected, "run `make test`, which writes docs/grid.md"


def test_readme_summary():
    """The README has the summary of docs/grid.md."""
    marks = cells()
    page = {(row, col): marks[report.sentence(row), col] for row, col in report.expected()}
    assert report.summary(page) in report.README.read_text()


def test_grid_versions():
    """docs/grid.md was made with the locked versions."""
    assert report.versions() in report.DOC.read_text()
