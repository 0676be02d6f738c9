"""`manage.py drain`: empty a replica by hand."""

import time
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from config import env
from serve import control


class Command(BaseCommand):
    help = (
        "Ask the sockets of this container to reconnect elsewhere, and accept no new ones until"
        " --undo or a restart. Pages are still served; /readyz answers 503."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--undo", action="store_true", help="accept sockets again")

    def handle(self, *args, undo: bool, **options) -> None:
        # For the drain, clients that do not read, and what consumers do in disconnect()
        timeout = env.DRAIN_SECONDS + env.WS_SEND_TIMEOUT + 10
        deadline = time.monotonic() + timeout
        try:
            if undo:
                control.resume(env.CONTROL_DIR, timeout)
            else:
                while sockets := control.drain(env.CONTROL_DIR, timeout):
                    if time.monotonic() > deadline:
                        raise CommandError(f"{sockets} sockets are still open.")
        except OSError as error:
            raise CommandError(f"The server does not answer: {error}.") from None
        self.stdout.write("Accepting WebSockets again." if undo else "Drained.")
