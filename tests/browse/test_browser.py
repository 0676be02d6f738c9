"""What a person sees and does."""

import re

from playwright.sync_api import Page, expect

from tests.stack import eventually

CONNECTED = {"timeout": 30_000}  # ms


def connected(page: Page, status: str) -> None:
    """Wait until a page says that its socket is open."""
    expect(page.locator(status)).to_have_text("Connected", **CONNECTED)


def say(page: Page, text: str) -> None:
    """Type a message and press Enter."""
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def test_a_stranger_sends_something_and_sees_the_answer(window):
    page = window()
    page.goto("/")
    connected(page, "#echo-status")
    page.get_by_label("Text to send").fill("¿hay alguien?")
    page.get_by_role("button", name="Send").click()
    line = page.locator("#echo-log li")
    expect(line.locator(".answer")).to_have_text("¿hay alguien?")
    expect(line.locator(".took")).to_have_text(re.compile(r"^\d+\.\d ms$"))


def test_a_stranger_who_wants_into_a_room_logs_in_first(window):
    page = window()
    page.goto("/rooms/lobby/")
    expect(page).to_have_url(re.compile(r"/accounts/login/\?next=/rooms/lobby/$"))


def test_two_people_on_two_replicas_see_each_others_messages(window):
    ada, bob = window("ada"), window("bob")
    for page in (ada, bob):
        page.goto("/rooms/window/")
        connected(page, "#room-status")

    def on_two_replicas() -> bool:
        if ada.locator("#replica").inner_text() != bob.locator("#replica").inner_text():
            return True
        bob.reload()
        connected(bob, "#room-status")
        return False

    eventually("the two on different replicas", on_two_replicas)
    say(ada, "hello, Bob")
    say(bob, "hello, Ada")
    for page in (ada, bob):
        lines = page.locator("#messages li")
        expect(lines).to_have_count(2)
        expect(lines.locator(".author")).to_have_text(["ada", "bob"])
        expect(lines.locator("p")).to_have_text(["hello, Bob", "hello, Ada"])
    ada.reload()
    expect(ada.locator("#messages li p")).to_have_text(["hello, Bob", "hello, Ada"])


def test_what_is_said_is_shown_as_text_and_never_run(window):
    page = window("ada")
    page.goto("/rooms/markup/")
    connected(page, "#room-status")
    say(page, "<img src=x onerror=alert(1)>")
    for _ in ("live", "from history"):
        expect(page.locator("#messages li p")).to_have_text("<img src=x onerror=alert(1)>")
        page.reload()


def test_a_page_comes_back_by_itself_after_the_proxy_was_killed(stack, window):
    page = window("ada")
    page.goto("/rooms/again/")
    connected(page, "#room-status")
    stack.compose("kill", "nginx")
    expect(page.locator("#room-status")).to_have_text("Reconnecting…")
    say(page, "kept in the box")
    expect(page.get_by_role("alert")).to_have_text(re.compile("Not sent"))
    stack.compose("start", "nginx")
    connected(page, "#room-status")
    page.keyboard.press("Enter")
    expect(page.locator("#messages li p")).to_have_text("kept in the box")


def test_logging_out_leads_home(window):
    page = window("ada")
    page.goto("/")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in", exact=True)).to_be_visible()
