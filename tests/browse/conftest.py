"""Fixtures for tests in Chromium."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.docker import chromium
from tests.stack import PASSWORD, Stack

expect.set_options(timeout=30_000)  # ms


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium, headless."""
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def window(stack: Stack, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page with its own cookies, and logs a user in if named.

    Assert in the end that no page's console has anything but network errors.
    """
    console: list[str] = []

    def open_window(username: str | None = None) -> Page:
        page = browser.new_context(base_url=stack.url).new_page()
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        if username:
            page.goto("/accounts/login/")
            page.get_by_label("Username").fill(username)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in").click()
            page.get_by_role("button", name="Log out").wait_for()
        return page

    yield open_window
    for context in browser.contexts:
        context.close()
    network = "WebSocket connection to|net::ERR_"
    assert [text for text in console if not re.search(network, text)] == []
