"""Pages, through nginx."""

import re

import httpx
import pytest

from tests.conftest import page_server
from tests.stack import PASSWORD, Stack, form


@pytest.fixture(scope="module")
def page(stack: Stack) -> httpx.Response:
    """Return the home page for an anonymous user."""
    return stack.browser().get("/", headers={"Accept-Encoding": "gzip"}).raise_for_status()


def links(page: httpx.Response) -> list[str]:
    """Return the URLs of the static files that a page uses."""
    return re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)


def test_hashed_imports(stack, page):
    """JavaScript modules import each other by hashed names."""
    (module,) = [link for link in links(page) if link.endswith(".js")]
    (imported,) = re.findall(r'from "([^"]+)"', stack.browser().get(module).text)
    target = httpx.URL(f"{stack.url}{module}").join(imported)
    assert re.search(r"\.[0-9a-f]{12}\.js$", target.path)
    assert "class RealtimeSocket" in stack.browser().get(target).text


def test_missing_static_file(stack):
    """A missing static file is answered by 404, and not cached as immutable."""
    answer = stack.browser().get("/static/missing.css")
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_log_in_and_out(stack):
    """A user can log in and out."""
    browser = stack.browser("ada")
    assert ">ada<" in browser.get("/").text
    assert browser.post("/accounts/logout/", data=form(browser)).is_redirect
    assert ">ada<" not in browser.get("/").text


def test_wrong_password(stack):
    """A wrong password does not log in."""
    browser = stack.browser()
    browser.get("/accounts/login/")
    fields = form(browser, username="ada", password=PASSWORD[:-1])
    assert browser.post("/accounts/login/", data=fields).status_code == 200
    assert "sessionid" not in browser.cookies


def test_admin_static_files(stack):
    """The admin is served with all of its static files."""
    browser = stack.browser("root")
    page = browser.get("/admin/rooms/message/").raise_for_status()
    assert len(links(page)) > 5
    for link in links(page):
        browser.get(link).raise_for_status()


def test_server_version(stack, combination):
    """/whoami/ shows the server and its locked version."""
    server = stack.browser("root").get("/whoami/").json()["server"]
    assert server["name"] == page_server(combination)
    lock = (stack.project / "requirements.txt").read_text()
    assert f"\n{server['name']}=={server['version']} " in lock


def test_whoami_is_for_staff(stack):
    """/whoami/ is for staff only."""
    assert stack.browser("ada").get("/whoami/").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.1", "localhost.evil.example"])
def test_unknown_host(stack, host):
    """A request for an unknown host gets no answer."""
    with pytest.raises(httpx.RemoteProtocolError):
        stack.browser().get("/", headers={"Host": host})


def test_probes_of_any_host(stack):
    """Probes are answered whatever their Host header."""
    expected = {"livez": {"live": True}, "readyz": {"database": True, "redis": True}}
    for path in stack.probes:
        answer = stack.browser().get(path, headers={"Host": "10.0.0.1"})
        assert answer.json() == expected[path.rpartition("/")[2]]


def test_probe_with_body(stack):
    """nginx refuses a probe with a body."""
    for path in stack.probes:
        answer = stack.browser().request("GET", path, content=b"x" * 500_000)
        assert (answer.status_code, answer.headers["server"]) == (413, "nginx")
