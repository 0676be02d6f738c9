"""Pages, through nginx."""

import re

import httpx
import pytest

from tests.conftest import page_server
from tests.stack import PASSWORD, Stack, form


@pytest.fixture(scope="module")
def page(stack: Stack) -> httpx.Response:
    """The first page, as a stranger gets it."""
    return stack.browser().get("/", headers={"Accept-Encoding": "gzip"}).raise_for_status()


def links(page: httpx.Response) -> list[str]:
    """Return the addresses of the static files that a page uses."""
    return re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)


def test_modules_import_each_other_by_hashed_names(stack, page):
    (module,) = [link for link in links(page) if link.endswith(".js")]
    (imported,) = re.findall(r'from "([^"]+)"', stack.browser().get(module).text)
    target = httpx.URL(f"{stack.url}{module}").join(imported)
    assert re.search(r"\.[0-9a-f]{12}\.js$", target.path)
    assert "class Socket" in stack.browser().get(target).text


def test_a_static_file_that_is_missing_is_not_found_and_not_kept(stack):
    answer = stack.browser().get("/static/missing.css")
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_a_user_logs_in_and_out(stack):
    browser = stack.browser("ada")
    assert ">ada<" in browser.get("/").text
    assert browser.post("/accounts/logout/", data=form(browser)).is_redirect
    assert ">ada<" not in browser.get("/").text


def test_a_wrong_password_does_not_log_in(stack):
    browser = stack.browser()
    browser.get("/accounts/login/")
    fields = form(browser, username="ada", password=PASSWORD[:-1])
    assert browser.post("/accounts/login/", data=fields).status_code == 200
    assert "sessionid" not in browser.cookies


def test_the_admin_works_with_its_styles(stack):
    browser = stack.browser("root")
    page = browser.get("/admin/rooms/message/").raise_for_status()
    assert len(links(page)) > 5
    for link in links(page):
        browser.get(link).raise_for_status()


def test_the_application_knows_its_server(stack, combination):
    server = stack.browser("root").get("/whoami/").json()["server"]
    assert server["name"] == page_server(combination)
    lock = (stack.project / "requirements.txt").read_text()
    assert f"\n{server['name']}=={server['version']} " in lock


def test_whoami_is_for_staff(stack):
    assert stack.browser("ada").get("/whoami/").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.1", "localhost.evil.example"])
def test_a_host_that_is_not_ours_gets_no_answer(stack, host):
    with pytest.raises(httpx.RemoteProtocolError):
        stack.browser().get("/", headers={"Host": host})


def test_health_answers_whatever_the_host(stack):
    said = {"livez": {"live": True}, "readyz": {"database": True, "redis": True}}
    for path in stack.probes:
        answer = stack.browser().get(path, headers={"Host": "10.0.0.1"})
        assert answer.json() == said[path.rpartition("/")[2]]


def test_a_probe_that_brings_something_along_is_refused_by_nginx(stack):
    for path in stack.probes:
        answer = stack.browser().request("GET", path, content=b"x" * 500_000)
        assert (answer.status_code, answer.headers["server"]) == (413, "nginx")
