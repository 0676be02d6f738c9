"""docs/security.md: a test for each of its rows."""

import re
from urllib.parse import unquote

from tests.baking import ROOT
from tests.grid.report import sentence

DOC = ROOT / "docs" / "security.md"


def test_every_row_names_tests_that_there_are():
    rows = re.findall(r"^\| (?!what may|---)(.+)\|$", DOC.read_text(), re.MULTILINE)
    assert len(rows) > 30
    for row in rows:
        what, _, shown = row.split(" | ")
        tests = re.findall(r"\[([^]]+)\]\(([^)]+)\)", shown)
        assert tests, what
        for said, path in tests:
            source = (DOC.parent / unquote(path)).read_text()
            names = re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE)
            assert said in map(sentence, names), (what, said)
