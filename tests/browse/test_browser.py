"""What a person sees and does."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect

from tests.stack import eventually

pytestmark = pytest.mark.whole


def connected(page: Page, status: str) -> None:
    """Wait until a page says that its socket is open."""
    expect(page.locator(status)).to_have_text("Connected")


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
    expect(bob.locator("#messages li p")).to_have_text("hello, Bob")
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


def test_people_see_who_is_here(window):
    ada, bob = window("ada"), window("bob")
    ada.goto("/rooms/here/")
    expect(ada.locator("#here")).to_have_text("Here: you")
    bob.goto("/rooms/here/")
    for page, name in ((ada, "bob"), (bob, "ada")):
        expect(page.locator("#here")).to_have_text(f"Here: you and {name}")
    bob.close()
    expect(ada.locator("#here")).to_have_text("Here: you")


def test_what_is_typed_without_a_connection_waits_and_is_sent_when_it_is_back(stack, window):
    page = window("ada")
    page.goto("/rooms/again/")
    connected(page, "#room-status")
    stack.compose("kill", "nginx")
    try:
        expect(page.locator("#room-status")).to_have_text("Reconnecting…")
        say(page, "kept for later")
        line = page.locator("#messages li")
        expect(line.locator("time")).to_have_text("sending…")
    finally:
        stack.compose("start", "nginx")
    connected(page, "#room-status")
    expect(line).to_have_attribute("data-id", re.compile(r"\d+"))
    page.reload()
    expect(page.locator("#messages li p")).to_have_text(["kept for later"])


def test_two_people_talk_through_a_restart_and_nothing_is_lost_or_there_twice(stack, window):
    ada, bob = window("ada"), window("bob")
    for page in (ada, bob):
        page.goto("/rooms/restart/")
        connected(page, "#room-status")
    said = []

    def talk(times: int) -> None:
        for page in (ada, bob) * times:
            said.append(f"line {len(said)}")
            say(page, said[-1])
            page.wait_for_timeout(100)

    talk(2)
    for app in stack.replicas():
        with ThreadPoolExecutor() as pool:
            restart = pool.submit(app.restart, timeout=75)
            while not restart.done():
                talk(1)
        eventually("healthy", lambda app=app: app.reload() or app.health == "healthy")
    talk(2)
    for page in (ada, bob):
        expect(page.locator("#messages li[aria-busy]")).to_have_count(0)
        expect(page.locator("#messages li")).to_have_count(len(said))
        texts = page.locator("#messages li p").all_inner_texts()
        assert sorted(texts) == sorted(said)
    assert ada.locator("#messages li p").all_inner_texts() == texts
    ada.reload()
    expect(ada.locator("#messages li p")).to_have_text(texts[-50:])


def test_a_page_whose_past_is_no_longer_known_loads_it_from_the_database(stack, window):
    ada, bob = window("ada"), window("bob")
    for page in (ada, bob):
        page.goto("/rooms/forgotten/")
        connected(page, "#room-status")
    say(bob, "before")
    expect(ada.locator("#messages li p")).to_have_text(["before"])
    ada.context.set_offline(True)
    say(bob, "while you were away")
    expect(bob.locator("#messages li")).to_have_count(2)
    expect(bob.locator("#messages li[aria-busy]")).to_have_count(0)
    ada.wait_for_timeout(1000)  # ms
    assert ada.locator("#messages li p").all_inner_texts() == ["before"]
    assert stack.redis_cli("flushall") == ["OK"]
    say(bob, "and after")
    ada.context.set_offline(False)
    for page in (ada, bob):
        expect(page.locator("#messages li p")).to_have_text(
            ["before", "while you were away", "and after"]
        )


def test_logging_out_leads_home(window):
    page = window("ada")
    page.goto("/")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in", exact=True)).to_be_visible()
