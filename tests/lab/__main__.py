"""`python -m tests.lab`: start the lab for a shell, and stop it."""

from __future__ import annotations

import argparse
import shlex
import sys

from . import engine, host, images


def main() -> None:
    """Do what the command line says. Exits with 1 and one line on stderr when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="have an engine, and these images in it")
    up.add_argument("image", nargs="*", help="a public image, such as redis:8-trixie")
    commands.add_parser("down", help="stop the private engine; its images are kept")
    commands.add_parser("env", help='print what a shell needs: eval "$(python -m tests.lab env)"')
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            images.ensure(arguments.image, engine.ensure().env)
        elif arguments.command == "down":
            engine.down()
        else:
            print_env()
    except host.LabError as error:
        sys.exit(f"lab: {error}")


def print_env() -> None:
    """Print the running engine's environment as `export` lines: none for the machine's own."""
    found = engine.current()
    if found is None:
        raise engine.NoEngine("no Docker Engine answers: run `python -m tests.lab up`")
    for name, value in found.env.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
