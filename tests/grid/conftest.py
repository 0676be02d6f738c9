"""Add the cell of the grid to each test's report, for the process that collects the results."""

import pytest

from tests.grid import report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    column = report.column(item.callspec.params["combination"])
    outcome.user_properties.append(("cell", [item.originalname, column]))
    return outcome
