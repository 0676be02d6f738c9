"""`manage.py backup`: copy the database while it is in use."""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.management.base import BaseCommand
from django.db import connection


class Command(BaseCommand):
    help = "Write a copy of the database to standard output, as it is at one moment."

    def handle(self, *args, **options) -> None:
        connection.ensure_connection()
        # In the same folder as the database: the only writable volume in a container.
        with TemporaryDirectory(dir=Path(connection.settings_dict["NAME"]).parent) as folder:
            file = Path(folder, "backup.sqlite3")
            with closing(sqlite3.connect(file)) as copy:
                connection.connection.backup(copy)  # https://sqlite.org/backup.html
            with file.open("rb") as copied:
                shutil.copyfileobj(copied, sys.stdout.buffer)
