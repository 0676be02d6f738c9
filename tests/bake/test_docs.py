"""The pages of docs/ that link to tests."""

import re

import pytest

from tests import docs
from tests.baking import ROOT


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda page: page.name)
def test_sentences_are_current(page):
    """Links to tests have the first lines of the tests' docstrings as their text."""
    assert docs.updated(page) == page.read_text(), "outdated: python -m tests.docs"


def test_security_rows():
    """Every row of docs/security.md links to a test."""
    page = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (?!attack|---)(.+) \|$", page, re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        attack, _, tests = row.split(" | ")
        assert docs.LINK.findall(tests), attack
