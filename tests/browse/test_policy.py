"""The content security policy, in a browser."""

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.whole

INJECTED = '<img src="/none.png" onerror="document.title = `taken over`"><iframe src="/"></iframe>'


def inject(page: Page) -> None:
    """Inject markup into a page, as a flaw in a template would, and wait for its image."""
    page.goto("/")
    with page.expect_response("**/none.png"):
        page.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", INJECTED)


def test_injected_script(stack, browser: Browser):
    """A script injected into a page does not run."""
    page = browser.new_context(base_url=stack.url).new_page()
    inject(page)
    page.wait_for_timeout(500)  # ms, in which nothing may happen
    expect(page).not_to_have_title("taken over")
    unprotected = browser.new_context(base_url=stack.url, bypass_csp=True).new_page()
    inject(unprotected)
    expect(unprotected).to_have_title("taken over")


def test_framing(stack, browser: Browser):
    """No page can be framed."""
    page = browser.new_context(base_url=stack.url).new_page()
    inject(page)
    page.wait_for_timeout(500)  # ms, in which nothing may happen
    (frame,) = page.frames[1:]
    assert frame.url != f"{stack.url}/"
    assert frame.locator("h1").count() == 0


def test_admin(window):
    """The admin works without a violation of the policy."""
    page = window("root")
    page.goto("/admin/auth/user/")
    page.get_by_role("link", name="ada", exact=True).click()
    page.get_by_role("link", name="Today").first.click()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist")).to_contain_text("was changed successfully")
    page.goto("/admin/axes/accessattempt/")
    expect(page.locator("#content h1")).to_contain_text("access attempt")
    page.goto("/admin/rooms/message/")
    expect(page.locator("#content h1")).to_contain_text("message")
    page.goto("/admin/auth/group/add/")
    page.get_by_label("Name:").fill("editors")
    page.locator("#id_permissions_from option").first.dblclick()
    expect(page.locator("#id_permissions_to option")).to_have_count(1)
