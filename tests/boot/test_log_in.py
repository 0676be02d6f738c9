"""Log-in: lockout, cookies and security headers."""

import httpx

from tests.stack import PASSWORD, Stack, form


def log_in(stack: Stack, username: str, password: str, page: str = "/accounts/login/") -> int:
    """Try to log in from a browser without cookies, and return the status."""
    with stack.browser() as browser:
        browser.get(page).raise_for_status()
        fields = form(browser, username=username, password=password)
        return browser.post(page, data=fields, headers={"Connection": "close"}).status_code


def test_login_lockout(stack):
    """After five wrong passwords, every replica refuses the user's log-ins with 429."""
    stack.add_user("eve")
    assert [log_in(stack, "eve", "guessed") for _ in range(5)] == [200] * 4 + [429]
    for page in ("/accounts/login/", "/admin/login/"):
        assert [log_in(stack, "eve", PASSWORD, page) for _ in range(4)] == [429] * 4
    assert log_in(stack, "ada", PASSWORD) == 302
    assert stack.manage("axes_reset_username", "eve") == "1 attempts removed.\n"
    assert log_in(stack, "eve", PASSWORD) == 302


def test_cookie_flags(stack):
    """Cookies are SameSite=Lax, and the session's is HttpOnly."""
    answer = httpx.get(f"{stack.url}/accounts/login/")
    (csrf,) = answer.headers.get_list("set-cookie")
    assert "SameSite=Lax" in csrf
    with stack.browser() as browser:
        browser.get("/accounts/login/")
        fields = form(browser, username="ada", password=PASSWORD)
        cookies = browser.post("/accounts/login/", data=fields).headers.get_list("set-cookie")
    (session,) = [cookie for cookie in cookies if cookie.startswith("sessionid=")]
    assert {"HttpOnly", "SameSite=Lax"} <= set(session.split("; "))


def test_response_headers(stack):
    """Pages are sent with security headers and without version numbers."""
    headers = stack.browser().get("/").headers
    assert headers["Server"] == "nginx"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "X-Powered-By" not in headers
