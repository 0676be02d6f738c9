"""Gathers what each cell of the grid came to, and writes the pages when all of them were filled."""

import pytest

from tests.grid.report import PASS, expected, write


class Cells:
    """A plugin of pytest, for the process that hears of all tests."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], str] = {}
        self.figures: dict[tuple[str, str], dict[str, str]] = {}
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test of the grid; of several examples in one cell, the one that fails."""
        said = dict(report.user_properties)
        if "cell" not in said:
            return
        cell = tuple(said["cell"])
        if report.failed or (report.skipped and not hasattr(report, "wasxfail")):
            self.failed = True  # what was skipped has not passed
        elif report.when == "call":
            if self.cells.get(cell, PASS) == PASS:
                self.cells[cell] = getattr(report, "wasxfail", PASS)
            if "figures" in said:
                self.figures[cell] = said["figures"]

    def pytest_sessionfinish(self) -> None:
        """Write the pages, unless something is missing or failed."""
        if not self.failed and expected() <= self.cells.keys():
            write(self.cells, self.figures)
