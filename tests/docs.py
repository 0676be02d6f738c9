"""Links to tests in docs/*.md: `python -m tests.docs` takes their text from the tests' docstrings.

    [TLS 1.2 and 1.3 are accepted](../tests/boot/test_tls.py#test_tls_versions)

The fragment names the test. The text is the first line of its docstring, without the full stop.
"""

import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from tests.baking import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
LINK = re.compile(r"\[[^]]*\]\((?P<path>[^()\s]+\.py)#(?P<test>test_\w+)\)")
DOCSTRING = r'^(?:async )?def (test_\w+)\([^)]*\)(?: -> None)?:\n    """(.+?)(?:"""|$)'


@cache
def sentences(file: Path) -> dict[str, str]:
    """Return the tests of a module, in their order, and the first lines of their docstrings.

    The full stop is left out, for tables and links. The file is not parsed: some of the baked
    project's tests contain template syntax.

    Raises:
        AssertionError: a docstring is missing, or does not start with a sentence.
    """
    source = file.read_text()
    found = dict(re.findall(DOCSTRING, source, re.MULTILINE))
    for test in re.findall(r"^(?:async )?def (test_\w+)\(", source, re.MULTILINE):
        assert found.get(test, "").endswith("."), f"{file.name}: no sentence for {test}"
    return {test: text.removesuffix(".") for test, text in found.items()}


def updated(page: Path) -> str:
    """Return a page with the sentences of the tests that it links to.

    Raises:
        FileNotFoundError: a file of tests is missing.
        AssertionError: a test is missing, or its docstring does not start with a sentence.
    """

    def link(match: re.Match[str]) -> str:
        target = f"{match['path']}#{match['test']}"
        found = sentences(page.parent / unquote(match["path"]))
        assert match["test"] in found, f"no such test: {target}"
        return f"[{found[match['test']]}]({target})"

    return LINK.sub(link, page.read_text())


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(updated(page))
