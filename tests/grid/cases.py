"""Collect the result of each cell of the grid, and write the pages when none is missing."""

import pytest

from tests.grid.report import PASS, expected, write


class Cases:
    """A plugin of pytest, for the process that receives the reports of all tests."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], str] = {}
        self.figures: dict[tuple[str, str], dict[str, str]] = {}
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the result of a test of the grid; of several in one cell, the one that fails."""
        properties = dict(report.user_properties)
        if "cell" not in properties:
            return
        cell = tuple(properties["cell"])
        if report.failed or (report.skipped and not hasattr(report, "wasxfail")):
            self.failed = True  # a skipped test has not passed
        elif report.when == "call":
            if self.cells.get(cell, PASS) == PASS:
                self.cells[cell] = getattr(report, "wasxfail", PASS)
            if "figures" in properties:
                self.figures[cell] = properties["figures"]

    def pytest_sessionfinish(self) -> None:
        """Write the pages, unless a cell is missing or failed."""
        if not self.failed and expected() <= self.cells.keys():
            write(self.cells, self.figures)
