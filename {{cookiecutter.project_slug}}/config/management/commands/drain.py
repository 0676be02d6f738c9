"""`manage.py drain`: empty a replica by hand."""

import json
import time

from django.core.management.base import BaseCommand, CommandError

from config import contract
from serve.probe import ask


class Command(BaseCommand):
    help = (
        "Send the sockets of this container away, and take no more until --undo or a restart."
        " Pages are still served; /readyz says 503."
    )

    def add_arguments(self, parser) -> None:
        parser.add_argument("--undo", action="store_true", help="take sockets again")

    def handle(self, *args, undo: bool, **options) -> None:
        if undo:
            contract.DRAIN_FILE.unlink(missing_ok=True)
            self.stdout.write("Sockets are taken again.")
            return
        contract.DRAIN_FILE.touch()
        # A second until it is seen, the drain, and some for what consumers do on a disconnect.
        deadline = time.monotonic() + contract.DRAIN_SECONDS + 10
        while left := self.left():
            if time.monotonic() > deadline:
                raise CommandError(f"{left} sockets or processes have not left.")
            time.sleep(1)
        self.stdout.write("Drained.")

    def left(self) -> int:
        """Return the sockets left in some process, 1 if one does not drain yet, or 0.

        Each request may reach another process: it asks often enough to meet them all.
        """
        for _ in range(10 * contract.WEB_CONCURRENCY):
            try:
                answer = json.loads(ask(contract.BIND, "/readyz").partition("\r\n\r\n")[2])
            except OSError as error:
                raise CommandError(f"Nobody answers at {contract.BIND}: {error}") from None
            if left := answer.get("sockets", 1):
                return left
        return 0
