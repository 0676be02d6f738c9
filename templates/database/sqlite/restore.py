"""`manage.py restore`: replace the database by a backup, while it is in use."""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.management.base import BaseCommand, CommandError
from django.db import connection


class Command(BaseCommand):
    help = "Replace the database by a backup that is read from standard input."

    def handle(self, *args, **options) -> None:
        connection.ensure_connection()
        with TemporaryDirectory(dir=Path(connection.settings_dict["NAME"]).parent) as folder:
            file = Path(folder, "backup.sqlite3")
            with file.open("wb") as copied:
                shutil.copyfileobj(sys.stdin.buffer, copied)
            with closing(sqlite3.connect(file)) as copy:
                check(copy)
                copy.backup(connection.connection)


def check(copy: sqlite3.Connection) -> None:
    """Raise CommandError unless this is an intact database of this project."""
    try:
        copy.execute("SELECT 1 FROM django_migrations")
        sound = copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    except sqlite3.DatabaseError as error:
        raise CommandError(f"Not a backup of this project's database: {error}.") from None
    if not sound:
        raise CommandError("The backup is damaged. The database was not changed.")
