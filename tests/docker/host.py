"""Progress lines, the cache directory, locks and apt, for the other modules."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit


class DockerHostError(RuntimeError):
    """The engine, an image or a program cannot be provided. The message has the remedy."""


def report(line: str) -> None:
    """Print one progress line to stderr."""
    sys.stderr.write(f"docker host: {line}\n")  # one write: two builds may run at once
    sys.stderr.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print `what` when a long step begins, and again with the seconds it took when it is done."""
    report(f"{what} ...")
    started = time.monotonic()
    yield
    report(f"{what} ... {time.monotonic() - started:.0f} s")


def cache(*parts: str) -> Path:
    """Return a path below our cache directory (https://specifications.freedesktop.org/basedir)."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root, "cookiecutter-django-channels", *parts)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time through. The kernel drops the lock of a process that dies."""
    path = cache(f"{name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another process that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_logged(command: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a noisy command with its output in `log`.

    Raises DockerHostError with the end of that output when it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        try:
            subprocess.run(
                command,
                check=True,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        except subprocess.CalledProcessError as error:
            raise DockerHostError(
                f"{command[0]} failed with exit code {error.returncode}, see {log}:\n{tail(log)}"
            ) from error


def tail(log: Path, lines: int = 8) -> str:
    """Return the last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def is_debian() -> bool:
    """Whether Debian packages can be had here: Debian or a derivative, with apt."""
    if not shutil.which("apt-get"):
        return False
    release = platform.freedesktop_os_release()
    return "debian" in [release["ID"], *release.get("ID_LIKE", "").split()]


def can_install() -> bool:
    """Whether `install` can work: a Debian, and we are root on it."""
    return is_debian() and os.geteuid() == 0


def require(commands: Mapping[str, str]) -> None:
    """Install the Debian packages whose command is missing, given as {command: package}.

    Raises DockerHostError when one is missing and cannot be installed.
    """
    install([package for command, package in commands.items() if not which(command)])


def install(packages: Iterable[str]) -> None:
    """Install Debian packages. Does nothing when there are none.

    Raises DockerHostError when they cannot be installed.
    """
    missing = sorted(packages)
    if not missing:
        return
    if not can_install():
        raise DockerHostError(f"missing: {' '.join(missing)}; install it, or run as root on Debian")
    with lock("apt"), step(f"installing {' '.join(missing)} from Debian"):
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        log = cache("apt.log")
        run_logged(["apt-get", "update"], log, env)
        # Wait up to two minutes for another apt-get, for instance unattended upgrades.
        wait = "DPkg::Lock::Timeout=120"
        command = ["apt-get", "install", "-y", "--no-install-recommends", "-o", wait, *missing]
        run_logged(command, log, env)


def which(command: str) -> str | None:
    """Find a command, also where root's tools are when the caller's PATH has no sbin."""
    return shutil.which(command, path=root_path())


def root_path() -> str:
    """Return PATH with the directories of root's tools (iptables is in one) at its end."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin:/usr/sbin:/sbin"])


class Mirror(NamedTuple):
    """Where this machine's Debian packages come from."""

    uri: str
    suite: str
    """This machine's own release, as its apt sources call it."""


def mirror() -> Mirror:
    """Read the Debian mirror from this machine's apt sources.

    Both formats are read: https://manpages.debian.org/sources.list.5
    Raises DockerHostError when there is no such source.
    """
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    suites = {codename, "stable", "testing", "unstable", "sid"}
    apt = Path("/etc/apt")
    # Debian's own files first: a vendor's repository may use the same suite and component names.
    first = [apt / "sources.list.d/debian.sources", apt / "sources.list"]
    files = [path for path in first if path.exists()]
    files += sorted({*apt.glob("sources.list.d/*.sources"), *apt.glob("sources.list.d/*.list")})
    for path in files:
        for uri, suite, components in _sources(path):
            if suite in suites and "main" in components:
                return Mirror(_plain(uri), suite)
    raise DockerHostError(
        "no Debian mirror for this release in /etc/apt/sources.list or sources.list.d"
    )


def keyring() -> Path:
    """Return the keys that Debian's package lists are signed with.

    Raises DockerHostError when they are not here (a derivative may have keys of its own only).
    """
    for suffix in ("gpg", "pgp"):  # the older and the newer name
        path = Path(f"/usr/share/keyrings/debian-archive-keyring.{suffix}")
        if path.exists():
            return path
    raise DockerHostError("the package debian-archive-keyring is missing: install it")


def _sources(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (address, suite, components) of the binary package sources in one file."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    if path.suffix != ".sources":  # deb [option=value] address suite component...
        for line in lines:
            kind, *words = line.split() or [""]
            if words and words[0].startswith("["):
                words = line.partition("]")[2].split()
            if kind == "deb" and len(words) >= 2:
                yield words[0], words[1], words[2:]
        return
    for stanza in "\n".join(lines).split("\n\n"):
        pairs = (line.partition(":") for line in stanza.splitlines())
        field = {key.strip().lower(): value.split() for key, _, value in pairs}
        if "deb" in field.get("types", []) and field.get("enabled") != ["no"]:
            for uri in field.get("uris", []):
                for suite in field.get("suites", []):
                    yield uri, suite, field.get("components", [])


def _plain(uri: str) -> str:
    """Resolve apt's mirror+file: lists, which Debian's cloud images use and only apt reads."""
    if not uri.startswith("mirror+file:"):
        return uri.rstrip("/")
    return Path(urlsplit(uri).path).read_text().split()[0].rstrip("/")
