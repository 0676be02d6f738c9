"""Fixtures that more than one module of tests uses."""

import pytest
from django.contrib.auth.models import User
from django.test import Client


@pytest.fixture
def ada(transactional_db) -> Client:
    """A browser in which Ada has logged in."""
    client = Client()
    client.force_login(User.objects.create_user("ada", password="correct horse"))
    return client
