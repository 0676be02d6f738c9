"""The versions of servers that the patches in this package were tested with."""

import re
from collections.abc import Mapping
from importlib.metadata import version

Ranges = Mapping[str, tuple[str, str]]
"""The lowest version of each package, and the first one that is too high."""


class UntestedVersionError(ImportError):
    """A patched package has a version that its patches were not tested with."""


def require_versions(tested: Ranges) -> None:
    """Check that the installed packages are in the ranges tested: private names change silently.

    Raises:
        UntestedVersionError: a package is not. The message names it, both versions, and the remedy.
    """
    for package, (lowest, limit) in tested.items():
        found = version(package)
        if not release(lowest) <= release(found) < release(limit):
            raise UntestedVersionError(
                f"{package} {found} is installed, but serve/ patches private names of it, and was"
                f" tested with {package}>={lowest},<{limit}. Install such a version, or change"
                " TESTED_VERSIONS in serve/ and run tests/test_server.py."
            )


def release(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: (27, 0, 1)."""
    numbers = re.match(r"[\d.]*\d", text)
    return tuple(int(number) for number in numbers[0].split(".")) if numbers else ()
