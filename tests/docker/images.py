"""Public images: present already, pulled, or stood in for by Debian's packages under their name.

The stand-ins and which image each replaces are in the folder `standins`, to be read by themselves.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import host

STANDINS = Path(__file__).parent / "standins"
RECIPES = STANDINS / "recipes.toml"

LABEL = "cookiecutter-django-channels.standin=1"
"""Marks stand-ins and the images built from them (`docker image ls --filter`)."""

PATIENCE = 8
"""Seconds a registry may take to send the first line about an image. Then it does not answer."""

BOOTSTRAP_COMMANDS = {"mmdebstrap": "mmdebstrap"}


class NoImage(host.DockerHostError):
    """An image is not here, cannot be pulled, and nothing is known to stand in for it."""


@dataclass(frozen=True)
class Recipe:
    """How to build the stand-in for one image: see the head of recipes.toml."""

    image: str
    args: Mapping[str, str]
    bootstrap: str = ""
    folder: str = ""
    base: str = ""


def ensure(references: Iterable[str], env: Mapping[str, str] | None = None) -> None:
    """Make every image present in the engine: do nothing, pull it, or build its stand-in.

    `env` is added to the environment of each docker command: `Engine.env`.

    Raises NoImage for one that is not to be had, and host.DockerHostError when a build fails.
    """
    _Images(os.environ | (env or {})).ensure(references)


def find(reference: str) -> Recipe:
    """Return the recipe for an image. Raises NoImage when recipes.toml has none."""
    for entry in tomllib.loads(RECIPES.read_text())["recipe"]:
        if match := re.fullmatch(entry["image"], reference):
            groups = match.groupdict()
            args = {name.upper(): value for name, value in groups.items()} | entry.get("args", {})
            bootstrap = entry.get("bootstrap", "").format(**groups)
            return Recipe(
                reference, args, bootstrap, entry.get("folder", ""), entry.get("base", "")
            )
    raise NoImage(f"no registry answers, and no stand-in for {reference}: add it to {RECIPES}")


class _Images:
    """One call of `ensure`: the engine, and the registries that did not answer."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.silent: set[str] = set()

    def ensure(self, references: Iterable[str]) -> None:
        wanted = list(dict.fromkeys(references))
        if not any(self.missing(wanted)):
            return
        with host.lock("images"):  # asked again: another process may have built it meanwhile
            self.build(self.plan(self.missing(wanted)))

    def missing(self, references: Iterable[str]) -> list[str]:
        return [reference for reference in references if not self.present(reference)]

    def present(self, reference: str) -> bool:
        command = ["docker", "image", "inspect", reference]
        return not subprocess.run(
            command, check=False, env=self.env, capture_output=True
        ).returncode

    # --- pulling -----------------------------------------------------------------------------

    def pull(self, reference: str) -> bool:
        """Pull an image. Returns False when its registry does not answer.

        Raises NoImage when it answers that there is no such image: a stand-in would hide the typo.
        """
        first, slash, _ = reference.partition("/")
        registry = first if slash and ("." in first or ":" in first) else "docker.io"
        if registry in self.silent:
            return False
        host.report(f"pulling {reference}")
        process = subprocess.Popen(
            ["docker", "pull", reference],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with process:
            # The first line comes when the registry has answered; the rest may take any time.
            patience = threading.Timer(PATIENCE, process.kill)
            patience.start()
            lines = []
            for line in process.stdout or ():
                patience.cancel()
                lines.append(line.strip())
            patience.cancel()
        if process.returncode == 0:
            return True
        reason = lines[-1] if lines else f"no answer in {PATIENCE} s"
        if "manifest unknown" in reason or "repository does not exist" in reason:
            raise NoImage(f"{reference}: {reason}")
        host.report(f"{registry} does not serve it: {reason}")
        self.silent.add(registry)
        return False

    # --- building ----------------------------------------------------------------------------

    def plan(self, references: list[str]) -> dict[str, list[Recipe]]:
        """Pull what the registries have. Return the other recipes by lowest base, bases first."""
        chains: dict[str, list[Recipe]] = {}

        def add(reference: str) -> str:
            """Plan one image and the bases below it. Return the lowest of them that is missing."""
            for lowest, chain in chains.items():
                if any(recipe.image == reference for recipe in chain):
                    return lowest
            if self.present(reference) or self.pull(reference):
                return ""
            recipe = find(reference)
            lowest = (recipe.base and add(recipe.base)) or recipe.base or reference
            chains.setdefault(lowest, []).append(recipe)
            return lowest

        for reference in references:
            add(reference)
        return chains

    def build(self, chains: Mapping[str, list[Recipe]]) -> None:
        """Build each chain in its order, two chains at a time."""
        if any(recipe.bootstrap for chain in chains.values() for recipe in chain):
            host.require(BOOTSTRAP_COMMANDS)
        with ThreadPoolExecutor(max_workers=2) as pool:
            for done in [pool.submit(self.build_chain, chain) for chain in chains.values()]:
                done.result()

    def build_chain(self, chain: list[Recipe]) -> None:
        for recipe in chain:
            with (
                host.step(f"building a stand-in for {recipe.image}"),
                tempfile.TemporaryDirectory(prefix="docker-host-") as directory,
            ):
                make = self.bootstrap if recipe.bootstrap else self.build_folder
                make(
                    recipe,
                    Path(directory),
                    host.cache(f"image-{recipe.image.replace('/', '-')}.log"),
                )

    def bootstrap(self, recipe: Recipe, directory: Path, log: Path) -> None:
        """Make the image of a Debian release from its packages."""
        tar = directory / "root.tar"
        debian = STANDINS / "debian"
        # fmt: off
        command = [
            "mmdebstrap", "--variant=minbase",
            # A mirror may be older than a testing release allows (one week).
            '--aptopt=Acquire::Check-Valid-Until "false"',
            '--aptopt=Acquire::Languages "none"',
            f"--dpkgopt={debian / 'dpkg.cfg'}",
            f"--customize-hook=copy-in {debian / 'docker-clean'} /etc/apt/apt.conf.d",
            # What belongs to this machine, and what no two builds would have in common.
            '--customize-hook=rm -f "$1"/etc/hostname "$1"/etc/resolv.conf',
            '--customize-hook=rm -rf "$1"/var/log/* "$1"/var/cache/ldconfig/aux-cache',
            # docker-clean has just switched these caches off, so apt does not remove them.
            '--customize-hook=rm "$1"/var/cache/apt/*.bin',
            recipe.bootstrap, str(tar), f"deb {host.mirror().uri} {recipe.bootstrap} main",
        ]
        # fmt: on
        host.run_logged(command, log, self.env)
        changes = ['CMD ["bash"]', f"LABEL {LABEL}"]
        options = [option for change in changes for option in ("--change", change)]
        host.run_logged(["docker", "import", *options, str(tar), recipe.image], log, self.env)

    def build_folder(self, recipe: Recipe, directory: Path, log: Path) -> None:
        """Build a Dockerfile of the folder `standins`."""
        shutil.copy(_certificates(), directory / "ca-certificates.crt")
        args = {**recipe.args, "BASE": recipe.base}
        options = [f"--build-arg={name}={value}" for name, value in args.items()]
        # A proxy of this machine is one for the build too: docker takes its value from `env`.
        proxies = [name for name in self.env if name.lower().endswith("_proxy")]
        options += [f"--build-arg={name}" for name in proxies]
        # fmt: off
        command = [
            "docker", "build", "--progress=plain", f"--tag={recipe.image}", f"--label={LABEL}",
            # So that a mirror, proxy or name server on the machine's loopback is reached.
            "--network=host",
            f"--build-context=host={directory}", *options, str(STANDINS / recipe.folder),
        ]
        # fmt: on
        host.run_logged(command, log, {**self.env, "DOCKER_BUILDKIT": "1"})


def _certificates() -> Path:
    """Return the file with the certificate authorities that this machine trusts."""
    debian = "/etc/ssl/certs/ca-certificates.crt"
    file = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or debian
    if not Path(file).exists():
        host.require({"update-ca-certificates": "ca-certificates"})
        return Path(debian)
    return Path(file)
