"""The page that the grid writes, without a run of the grid."""

import re

from tests.grid import report


def cells() -> dict[tuple[str, str], str]:
    """Return what docs/grid.md says."""
    lines = re.findall(r"^\| (.+) \|$", report.DOC.read_text(), re.MULTILINE)
    found = {}
    for line in lines:
        row, *marks = line.split(" | ")
        found |= {(row, mode): mark for mode, mark in zip(report.MODES, marks, strict=True)}
    return found


def test_every_test_of_the_grid_is_a_row_of_the_page_for_each_server_and_no_other_is():
    rows = [report.sentence(row) for section in report.SECTIONS for row in report.rows(section)]
    expected = {(row, mode) for row in [*rows, *report.SECTIONS] for mode in report.MODES}
    assert cells().keys() == expected, "run `make test`, which writes docs/grid.md"


def test_the_readme_has_the_summary_of_the_page():
    names = [row for section in report.SECTIONS for row in report.rows(section)]
    said = cells()
    page = {(row, mode): said[report.sentence(row), mode] for row in names for mode in report.MODES}
    assert report.summary(page) in report.README.read_text()


def test_the_page_was_made_with_the_versions_of_the_locks():
    assert report.versions() in report.DOC.read_text()
