"""The pages, as used by people."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect

from tests.stack import eventually

pytestmark = pytest.mark.whole


def wait_until_connected(page: Page, status: str) -> None:
    """Wait until a page shows that its socket is open."""
    expect(page.locator(status)).to_have_text("Connected")


def send(page: Page, text: str) -> None:
    """Type a message and press Enter."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def test_echo(window):
    """An anonymous user sends a message to the echo and sees the answer."""
    page = window()
    page.goto("/")
    wait_until_connected(page, "#echo-status")
    page.get_by_label("Text to send").fill("¿hay alguien?")
    page.get_by_role("button", name="Send").click()
    line = page.locator("#echo-log li")
    expect(line.locator(".answer")).to_have_text("¿hay alguien?")
    expect(line.locator(".took")).to_have_text(re.compile(r"^\d+\.\d ms$"))


def test_room_requires_login(window):
    """A room redirects an anonymous user to the log-in page."""
    page = window()
    page.goto("/rooms/lobby/")
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/rooms/lobby/$"))


def test_chat_across_replicas(window):
    """Two users on different replicas see each other's messages."""
    ada, bob = window("ada"), window("bob")
    for page in (ada, bob):
        page.goto("/rooms/window/")
        wait_until_connected(page, "#room-status")

    def on_two_replicas() -> bool:
        if ada.locator("#replica").inner_text() != bob.locator("#replica").inner_text():
            return True
        bob.reload()
        wait_until_connected(bob, "#room-status")
        return False

    eventually("the two on different replicas", on_two_replicas)
    send(ada, "hello, Bob")
    expect(bob.locator("#messages li p")).to_have_text("hello, Bob")
    send(bob, "hello, Ada")
    for page in (ada, bob):
        lines = page.locator("#messages li")
        expect(lines).to_have_count(2)
        expect(lines.locator(".author")).to_have_text(["ada", "bob"])
        expect(lines.locator("p")).to_have_text(["hello, Bob", "hello, Ada"])
    ada.reload()
    expect(ada.locator("#messages li p")).to_have_text(["hello, Bob", "hello, Ada"])


def test_messages_are_escaped(window):
    """Messages are shown as text, and their markup does not run."""
    page = window("ada")
    page.goto("/rooms/markup/")
    wait_until_connected(page, "#room-status")
    send(page, "<img src=x onerror=alert(1)>")
    for _ in ("live", "from history"):
        expect(page.locator("#messages li p")).to_have_text("<img src=x onerror=alert(1)>")
        page.reload()


def test_presence(window):
    """A room shows its members as they join and leave."""
    ada, bob = window("ada"), window("bob")
    ada.goto("/rooms/members/")
    expect(ada.locator("#members")).to_have_text("In this room: you")
    bob.goto("/rooms/members/")
    for page, name in ((ada, "bob"), (bob, "ada")):
        expect(page.locator("#members")).to_have_text(f"In this room: you and {name}")
    bob.close()
    expect(ada.locator("#members")).to_have_text("In this room: you")


def test_sending_while_disconnected(stack, window):
    """A message typed while disconnected is sent after the reconnect."""
    page = window("ada")
    page.goto("/rooms/again/")
    wait_until_connected(page, "#room-status")
    stack.compose("kill", "nginx")
    try:
        expect(page.locator("#room-status")).to_have_text("Reconnecting…")
        send(page, "kept for later")
        line = page.locator("#messages li")
        expect(line.locator("time")).to_have_text("sending…")
    finally:
        stack.compose("start", "nginx")
    wait_until_connected(page, "#room-status")
    expect(line).to_have_attribute("data-id", re.compile(r"\d+"))
    page.reload()
    expect(page.locator("#messages li p")).to_have_text(["kept for later"])


def test_chat_through_restart(stack, window):
    """Two users chat through a restart without a lost or duplicate message."""
    ada, bob = window("ada"), window("bob")
    for page in (ada, bob):
        page.goto("/rooms/restart/")
        wait_until_connected(page, "#room-status")
    sent = []

    def chat(times: int) -> None:
        for page in (ada, bob) * times:
            sent.append(f"line {len(sent)}")
            send(page, sent[-1])
            page.wait_for_timeout(100)  # ms, to pace the conversation

    chat(2)
    for app in stack.replicas():
        with ThreadPoolExecutor() as pool:
            restart = pool.submit(app.restart, timeout=75)
            while not restart.done():
                chat(1)
        eventually("healthy", lambda app=app: app.reload() or app.health == "healthy")
    chat(2)
    for page in (ada, bob):
        expect(page.locator("#messages li[aria-busy]")).to_have_count(0)
        expect(page.locator("#messages li")).to_have_count(len(sent))
        texts = page.locator("#messages li p").all_inner_texts()
        assert sorted(texts) == sorted(sent)
    assert ada.locator("#messages li p").all_inner_texts() == texts
    ada.reload()
    expect(ada.locator("#messages li p")).to_have_text(texts[-50:])


def test_backfill(stack, window):
    """A page that cannot recover missed messages from the stream loads them from the database."""
    ada, bob = window("ada"), window("bob")
    for page in (ada, bob):
        page.goto("/rooms/forgotten/")
        wait_until_connected(page, "#room-status")
    send(bob, "before")
    expect(ada.locator("#messages li p")).to_have_text(["before"])
    ada.context.set_offline(True)
    send(bob, "while you were away")
    expect(bob.locator("#messages li")).to_have_count(2)
    expect(bob.locator("#messages li[aria-busy]")).to_have_count(0)
    ada.wait_for_timeout(1000)  # ms, in which no message may arrive
    assert ada.locator("#messages li p").all_inner_texts() == ["before"]
    assert stack.redis_cli("flushall") == ["OK"]
    send(bob, "and after")
    ada.context.set_offline(False)
    for page in (ada, bob):
        expect(page.locator("#messages li p")).to_have_text(
            ["before", "while you were away", "and after"]
        )


def test_logging_out(window):
    """Logging out leads to the home page."""
    page = window("ada")
    page.goto("/")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in", exact=True)).to_be_visible()
