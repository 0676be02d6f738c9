"""A Chromium for Playwright: the machine's own, or Debian's package.

Playwright's own download is not used: it comes from a host that not every network lets through,
and is one more browser where there is one already.
"""

from __future__ import annotations

import os
import sys
from ctypes.util import find_library
from pathlib import Path

from playwright.sync_api import Browser, Playwright

from . import host

COMMANDS = ("chromium", "chromium-headless-shell", "google-chrome", "google-chrome-stable")
PACKAGE = "chromium-headless-shell"  # without the libraries of a desktop
# The Node.js in Playwright's own package is linked against it; a minimal Debian does not have it.
LIBRARY, LIBRARY_PACKAGE = "atomic", "libatomic1"

STEADY = Path(__file__).with_name("steady_chromium.py")


class NoBrowser(host.DockerHostError):
    """No Chromium is found and none can be installed here."""


def ensure() -> Path:
    """Return the path of a Chromium for Playwright's `executable_path`.

    On Debian as root, what is missing is installed. Raises NoBrowser when there is none and it
    cannot be installed here, and host.DockerHostError when the installation fails.
    """
    found = next(filter(None, map(host.which, COMMANDS)), None)
    if host.can_install():
        missing = [] if found else [PACKAGE]
        missing += [] if find_library(LIBRARY) else [LIBRARY_PACKAGE]
        host.install(missing)
    elif not found:
        raise NoBrowser("no Chromium on PATH: install one, or run as root on Debian")
    return Path(found or f"/usr/bin/{PACKAGE}")


def launch(playwright: Playwright) -> Browser:
    """Start Chromium, without a window; on Linux so that Docker's networks do not disturb it.

    Raises what `ensure` does.
    """
    path = ensure()
    if sys.platform != "linux":
        return playwright.chromium.launch(executable_path=path)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = os.environ | {"CHROMIUM": str(path), "PATH": programs}
    return playwright.chromium.launch(executable_path=STEADY, env=env)
