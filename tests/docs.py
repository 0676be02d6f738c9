"""Links to tests in docs/*.md: `python -m tests.docs` takes their text from the tests' docstrings.

    [TLS 1.2 and 1.3 are accepted](../tests/boot/test_tls.py#test_tls_versions)

The fragment names the test. The text is the first line of its docstring, without the full stop.
"""

import re
from pathlib import Path
from urllib.parse import unquote

from tests.baking import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^]]*\]\((?P<path>[^()\s]+\.py)#(?P<test>test_\w+)\)")


def sentence(file: Path, test: str) -> str:
    """Return the first line of a test's docstring, or "" if the file has no such test.

    The file is not parsed: some of the baked project's tests contain template syntax.
    """
    docstring = rf'^(?:async )?def {test}\([^)]*\)(?: -> None)?:\n    """(.+?)(?:"""|$)'
    found = re.search(docstring, file.read_text(), re.MULTILINE)
    return found[1] if found else ""


def updated(page: Path) -> str:
    """Return a page with the sentences of the tests that it links to.

    Raises:
        FileNotFoundError: a file of tests is missing.
        AssertionError: a test is missing, or its docstring does not start with a sentence.
    """

    def link(match: re.Match[str]) -> str:
        target = f"{match['path']}#{match['test']}"
        text = sentence(page.parent / unquote(match["path"]), match["test"])
        assert text.endswith("."), f"no such test, or no sentence: {target}"
        return f"[{text.removesuffix('.')}]({target})"

    return LINK.sub(link, page.read_text())


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(updated(page))
