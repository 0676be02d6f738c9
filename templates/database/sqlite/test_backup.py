"""Copies of the database, made and put back while it is in use."""

import io
import sys

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command


@pytest.fixture
def copy(transactional_db, capsysbinary) -> bytes:
    """A copy of the database as it is when Ada has an account, and nobody else."""
    User.objects.create_user("ada")
    call_command("backup")
    User.objects.create_user("bob")
    return capsysbinary.readouterr().out


def restore(monkeypatch, content: bytes) -> None:
    """Run `manage.py restore` with this as its input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    call_command("restore")


def test_a_copy_is_put_in_the_place_of_what_is_there(copy, monkeypatch):
    restore(monkeypatch, copy)
    assert [user.username for user in User.objects.all()] == ["ada"]


@pytest.mark.parametrize("damage", [b"", b"no database", slice(5000), slice(100_000)], ids=repr)
def test_what_is_no_copy_is_refused_and_the_database_left_as_it_is(copy, monkeypatch, damage):
    content = copy[damage] if isinstance(damage, slice) else damage
    with pytest.raises(CommandError):
        restore(monkeypatch, content)
    assert User.objects.count() == 2
