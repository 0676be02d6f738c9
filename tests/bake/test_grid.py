"""What is booted, and the page that the grid writes, without a run of the grid."""

import re
from itertools import combinations

from tests.baking import CHOICES, PAIRWISE
from tests.baking import combinations as every_combination
from tests.grid import report


def pairs(chosen: list[dict[str, str]]) -> set[tuple]:
    """Return every two choices that are together in one of these combinations."""
    return {pair for one in chosen for pair in combinations(one.items(), 2)}


def test_any_two_choices_are_booted_together():
    assert pairs(PAIRWISE) == pairs(every_combination())
    assert len(pairs(PAIRWISE)) > len(CHOICES["asgi_server"])


def cells() -> dict[tuple[str, str], str]:
    """Return what docs/grid.md says."""
    found = {}
    for table in re.findall(r"(?:^\|.+\n)+", report.DOC.read_text(), re.MULTILINE):
        heads, _, *lines = [line.strip("| ").split(" | ") for line in table.strip().splitlines()]
        columns = [head.replace("<br>", "-") for head in heads[1:]]
        for row, *marks in lines:
            found |= {(row, col): mark for col, mark in zip(columns, marks, strict=True)}
    return found


def test_every_test_of_the_grid_is_a_row_of_the_page_and_no_other_is():
    expected = {(report.sentence(row), column) for row, column in report.expected()}
    assert cells().keys() == expected, "run `make test`, which writes docs/grid.md"


def test_the_readme_has_the_summary_of_the_page():
    said = cells()
    page = {(row, col): said[report.sentence(row), col] for row, col in report.expected()}
    assert report.summary(page) in report.README.read_text()


def test_the_page_was_made_with_the_versions_of_the_locks():
    assert report.versions() in report.DOC.read_text()
