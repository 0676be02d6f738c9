"""Write the locks of the baked project, for each combination, and of the template: `make locks`.

Versions within their range are kept, so that a lock changes only with its pyproject.toml;
`--upgrade` takes the newest versions.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.baking import ROOT, bake, combinations, name

LOCKS = ROOT / "templates" / "locks"


def compile_lock(project: Path, lock: str, *options: str) -> None:
    """Resolve a pyproject.toml to exact versions with hashes, for every platform.

    Runs in the project's folder, so that the lock contains no path of this machine, and no index.

    Raises:
        subprocess.CalledProcessError: no versions fit, or the index cannot be reached.
    """
    command = ["uv", "pip", "compile", "--universal", "--generate-hashes", "pyproject.toml"]
    command += [f"--output-file={lock}", *options]
    quiet = ["--quiet", "--no-config", "--no-emit-index-url", "--no-emit-find-links"]
    note = f"--custom-compile-command={' '.join(command)}"
    subprocess.run(
        [*command, *quiet, note, "--python-version=3.11"],
        cwd=project,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def lock(combination: dict[str, str], *options: str) -> dict[str, str]:
    """Return the two locks of a combination by file name; `-dev` includes the tools."""
    files = {
        f"{name(combination)}.txt": "requirements.txt",
        f"{name(combination)}-dev.txt": "requirements-dev.txt",
    }
    for file in files:
        (LOCKS / file).touch()  # the bake includes it
    with TemporaryDirectory() as folder:
        project = bake(Path(folder), **combination)
        compile_lock(project, "requirements.txt", *options)
        constraints = "--constraints=requirements.txt"
        compile_lock(project, "requirements-dev.txt", "--group=dev", constraints, *options)
        return {file: (project / source).read_text() for file, source in files.items()}


def main() -> None:
    """Write all locks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    options = ["--upgrade"] if parser.parse_args().upgrade else []
    LOCKS.mkdir(exist_ok=True)
    for combination in combinations("asgi_server", "topology", "database"):
        print(f"locks: {name(combination)}", file=sys.stderr)
        for file, text in lock(combination, *options).items():
            (LOCKS / file).write_text(text)
    print("locks: the template", file=sys.stderr)
    compile_lock(ROOT, "requirements.txt", *options)


if __name__ == "__main__":
    main()
