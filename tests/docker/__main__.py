"""`python -m tests.docker`: start the lab for a shell, and stop it."""

from __future__ import annotations

import argparse
import shlex
import sys

from . import engine, host, images


def main() -> None:
    """Run the command line. On failure, exits with 1 and one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.docker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start an engine if none answers, with these images in it")
    up.add_argument("image", nargs="*", help="a public image, such as redis:8-trixie")
    commands.add_parser("down", help="stop the private engine; its images are kept")
    commands.add_parser("env", help='print its variables: eval "$(python -m tests.docker env)"')
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            images.ensure(arguments.image, engine.ensure().env)
        elif arguments.command == "down":
            engine.down()
        else:
            print_env()
    except host.DockerHostError as error:
        sys.exit(f"docker host: {error}")


def print_env() -> None:
    """Print the running engine's environment as `export` lines: none for the machine's own."""
    found = engine.current()
    if found is None:
        raise engine.NoEngine("no Docker Engine answers: run `python -m tests.docker up`")
    for name, value in found.env.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
