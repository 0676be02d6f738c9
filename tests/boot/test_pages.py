"""Pages, through nginx."""

import re

import httpx
import pytest

from tests.stack import PASSWORD, Stack


@pytest.fixture(scope="module")
def page(stack: Stack) -> httpx.Response:
    """The first page, as a stranger gets it."""
    return stack.browser().get("/", headers={"Accept-Encoding": "gzip"}).raise_for_status()


def links(page: httpx.Response) -> list[str]:
    """Return the addresses of the static files that a page uses."""
    return re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)


def test_the_first_page_is_there_and_compressed(page):
    assert "<h2" in page.text
    assert page.headers["content-encoding"] == "gzip"


def test_static_files_have_hashed_names_and_may_be_kept_for_ever(stack, page):
    assert len(links(page)) >= 3
    for link in links(page):
        assert re.search(r"\.[0-9a-f]{12}\.\w+$", link)
        answer = stack.browser().get(link)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_static_files_come_compressed_from_nginx_and_not_from_the_application(stack, page):
    (style,) = [link for link in links(page) if link.endswith(".css")]
    answer = stack.browser().get(style, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    lines = [line for line in stack.json_logs("nginx") if line["path"] == style]
    assert lines[-1]["bytes"] == int(answer.headers["content-length"])
    assert lines[-1]["upstream"] == ""


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
    assert "ada" in browser.get("/").text
    token = browser.cookies["csrftoken"]
    assert browser.post("/accounts/logout/", data={"csrfmiddlewaretoken": token}).is_redirect
    assert "ada" not in browser.get("/").text


def test_a_wrong_password_does_not_log_in(stack):
    browser = stack.browser()
    browser.get("/accounts/login/")
    form = {"username": "ada", "password": PASSWORD[:-1]}
    form["csrfmiddlewaretoken"] = browser.cookies["csrftoken"]
    assert browser.post("/accounts/login/", data=form).status_code == 200
    assert "sessionid" not in browser.cookies


def test_the_admin_works_with_its_styles(stack):
    browser = stack.browser("root")
    page = browser.get("/admin/rooms/message/").raise_for_status()
    assert len(links(page)) > 5
    for link in links(page):
        browser.get(link).raise_for_status()


def test_the_application_sees_the_client_and_not_the_proxy(stack):
    seen = stack.browser("root").get("/whoami/").raise_for_status().json()
    lines = [line for line in stack.json_logs("nginx") if line["path"] == "/whoami/"]
    assert seen["client"] == lines[-1]["client"]
    assert seen["scheme"] == "http"
    assert seen["host"] == f"localhost:{stack.port}"


def test_the_application_knows_its_server(stack, combination):
    server = stack.browser("root").get("/whoami/").json()["server"]
    assert server["name"] == combination["asgi_server"]
    lock = (stack.project / "requirements.txt").read_text()
    assert f"\n{server['name']}=={server['version']} " in lock


def test_what_a_client_claims_about_itself_counts_for_nothing(stack):
    lies = {"X-Forwarded-For": "8.8.8.8", "X-Forwarded-Proto": "https", "X-Real-IP": "8.8.8.8"}
    seen = stack.browser("root").get("/whoami/", headers=lies).json()
    assert seen["scheme"] == "http"
    assert seen["client"] != "8.8.8.8"


def test_whoami_is_for_staff(stack):
    assert stack.browser("ada").get("/whoami/").status_code == 403


def test_a_host_that_is_not_ours_is_refused(stack):
    assert stack.browser().get("/", headers={"Host": "evil.example"}).status_code == 400


def test_health_answers_whatever_the_host(stack):
    evil = {"Host": "10.0.0.1"}
    assert stack.browser().get("/livez", headers=evil).json() == {"live": True}
    assert stack.browser().get("/readyz", headers=evil).json() == {"database": True, "redis": True}


def test_an_upload_over_the_limit_is_refused(stack):
    answer = stack.browser().post("/accounts/login/", content=b"x" * (10 * 1024**2 + 1))
    assert answer.status_code == 413
