"""Says of each test which cell of the grid it is, to whichever process gathers them."""

import pytest

from tests.grid import report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    column = report.column(item.callspec.params["combination"])
    outcome.user_properties.append(("cell", [item.originalname, column]))
    return outcome
