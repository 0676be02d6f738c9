"""A real browser."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.lab import chromium
from tests.stack import PASSWORD, Stack

expect.set_options(timeout=30_000)  # ms


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def window(stack: Stack, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a window with cookies of its own, in which a user may have logged in.

    In the end, nothing may have gone to any window's console but what the network said.
    """
    complaints: list[str] = []

    def open_window(username: str | None = None) -> Page:
        page = browser.new_context(base_url=stack.url).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
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
    assert [text for text in complaints if not re.search(network, text)] == []
