"""Backup and restore of the SQLite database while it is in use."""

import io
import sys

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command


@pytest.fixture
def copy(transactional_db, capsysbinary) -> bytes:
    """A backup that contains the user ada, but not bob."""
    User.objects.create_user("ada")
    call_command("backup")
    User.objects.create_user("bob")
    return capsysbinary.readouterr().out


def restore(monkeypatch, content: bytes) -> None:
    """Run `manage.py restore` with the given standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    call_command("restore")


def test_restore(copy, monkeypatch):
    """Restoring a backup replaces the database."""
    restore(monkeypatch, copy)
    assert [user.username for user in User.objects.all()] == ["ada"]


@pytest.mark.parametrize("damage", [b"", b"no database", slice(5000), slice(100_000)], ids=repr)
def test_restore_invalid_backup(copy, monkeypatch, damage):
    """An invalid backup is refused, and the database is unchanged."""
    content = copy[damage] if isinstance(damage, slice) else damage
    with pytest.raises(CommandError):
        restore(monkeypatch, content)
    assert User.objects.count() == 2
