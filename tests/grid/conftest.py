"""Notes what each cell of the grid came to, and writes the pages when all of them were filled."""

import pytest

from tests.grid import report

CELLS = pytest.StashKey[dict[tuple[str, str], str]]()
FIGURES = pytest.StashKey[dict[tuple[str, str], dict[str, str]]]()
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if outcome.failed:
        item.session.stash[FAILED] = True
    elif outcome.when == "call":
        cells = item.session.stash.setdefault(CELLS, {})
        cell = item.originalname, report.column(item.callspec.params["combination"])
        reason = getattr(outcome, "wasxfail", report.PASS)
        if cells.get(cell, report.PASS) == report.PASS:  # of several examples, the one that fails
            cells[cell] = reason
        if figures := dict(outcome.user_properties).get("figures"):
            item.session.stash.setdefault(FIGURES, {})[cell] = figures
    return outcome


def pytest_sessionfinish(session):
    cells = session.stash.get(CELLS, {})
    if report.expected() <= cells.keys() and not session.stash.get(FAILED, False):
        report.write(cells, session.stash[FIGURES])
