"""HTTPS: with certificates of one's own, and with those that an authority gives and renews."""

import json
import re
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import docker
import httpx
import pytest
import trustme
from cryptography import x509
from websockets.sync.client import ClientConnection, connect

from tests.boot.test_doors import gixy
from tests.lab import images
from tests.stack import PASSWORD, Stack, cookie_header, eventually, execute, form, free_port

nginx_alone = pytest.mark.only(asgi_server="uvicorn", topology="single")

PEBBLE = "ghcr.io/letsencrypt/pebble:2.10.0"
NAME = "chat.example.org"


@dataclass(frozen=True)
class Site:
    """A site as its visitors have it over HTTPS."""

    stack: Stack
    port: int
    authority: str
    """Whose certificates are trusted, as PEM."""
    name: str = "localhost"

    @property
    def tls(self) -> ssl.SSLContext:
        """Trusts this authority and nobody else; another one each time, for clients change it."""
        return ssl.create_default_context(cadata=self.authority)

    @property
    def origin(self) -> str:
        """What a page of this site is of."""
        return f"https://{self.name}:{self.port}"

    def open(self, tls: ssl.SSLContext | None = None, name: str | None = "") -> ssl.SSLSocket:
        """Connect, by a name if not None, and shake hands. Raises ssl.SSLError if that fails."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        try:
            return (tls or self.tls).wrap_socket(
                connection, server_hostname=self.name if name == "" else name
            )
        except OSError:
            connection.close()
            raise

    def certificate(self) -> int:
        """Return the serial number of the certificate that a new connection gets."""
        with self.open() as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(True)).serial_number

    def ask(self, client: httpx.Client, method: str, path: str, **options) -> httpx.Response:
        """Ask as a browser does that is on a page of this site, which need not be in DNS."""
        headers = {"Host": f"{self.name}:{self.port}", "Referer": f"{self.origin}/"}
        headers |= {"Cookie": cookie_header(client)}
        return client.request(
            method,
            f"https://127.0.0.1:{self.port}{path}",
            headers=headers,
            extensions={"sni_hostname": self.name},
            **options,
        )

    def browser(self) -> httpx.Client:
        """Return a client that speaks HTTP/2."""
        return httpx.Client(verify=self.tls, http2=True, timeout=20)

    def log_in(self, username: str) -> httpx.Client:
        """Return such a client, which has logged in."""
        client = self.browser()
        self.ask(client, "GET", "/accounts/login/").raise_for_status()
        fields = form(client, username=username, password=PASSWORD)
        answer = self.ask(client, "POST", "/accounts/login/", data=fields)
        assert answer.status_code == 302, answer.text
        return client

    def socket(self, path: str) -> AbstractContextManager[ClientConnection]:
        """Open a WebSocket, as a page of this site does that."""
        return connect(
            f"wss://{self.name}:{self.port}{path}",
            origin=self.origin,
            ssl=self.tls,
            sock=socket.create_connection(("127.0.0.1", self.port), timeout=20),
            open_timeout=20,
            proxy=None,
        )


def echoes(connection: ClientConnection) -> bool:
    """Whether a socket is alive."""
    connection.send("hello")
    return connection.recv(timeout=20) == "hello"


def issue(authority: trustme.CA, folder: Path, *names: str) -> int:
    """Write a certificate and its key to files, as they are named everywhere.

    Returns:
        its serial number.
    """
    certificate = authority.issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    for file, content in {
        "privkey.pem": certificate.private_key_pem.bytes(),
        "fullchain.pem": chain,
    }.items():
        (folder / file).write_bytes(content)
        (folder / file).chmod(0o644)
    return x509.load_pem_x509_certificate(chain).serial_number


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Somebody whose certificates are trusted in these tests."""
    return trustme.CA()


@pytest.fixture(scope="module")
def site(stack: Stack, authority) -> Iterator[Site]:
    """The site with certificates of one's own. Only nginx is another one."""
    folder = stack.project / "certificates"
    folder.mkdir(exist_ok=True)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issue(authority, folder, "localhost")
    port = free_port()
    files = "compose.yaml:compose.tls.yaml:tests.yaml"
    with stack.nginx(COMPOSE_FILE=files, HTTPS_PORT=str(port)):
        yield Site(stack, port, authority.cert_pem.bytes().decode())
    shutil.rmtree(folder)


def test_pages_and_sockets_come_by_https(site):
    root = site.log_in("root")
    whoami = site.ask(root, "GET", "/whoami/").raise_for_status()
    assert whoami.http_version == "HTTP/2"
    assert whoami.json()["scheme"] == "https"
    assert whoami.json()["host"] == f"localhost:{site.port}"
    with site.socket("/ws/echo/") as connection:
        assert echoes(connection)


@nginx_alone
def test_nginx_and_gixy_find_nothing_wrong(site, tmp_path):
    assert "No issues found" in gixy(site.stack, tmp_path)


@nginx_alone
def test_http_leads_to_https_but_for_probes_and_what_an_authority_asks(site):
    browser = site.stack.browser()
    answer = browser.get("/rooms/lobby/?a=b")
    assert answer.status_code == 301
    assert answer.headers["location"] == f"{site.origin}/rooms/lobby/?a=b"
    assert "strict-transport-security" not in answer.headers
    assert browser.get("/.well-known/acme-challenge/missing").status_code == 404
    for host in ("localhost", "10.0.0.1"):
        assert browser.get("/readyz", headers={"Host": host}).status_code == 200
    with pytest.raises(httpx.RemoteProtocolError):
        browser.get("/", headers={"Host": "evil.example"})


@nginx_alone
def test_no_log_has_what_a_url_says_after_the_question_mark_on_the_way_to_https_either(site):
    before = time.time()
    too_large = b"x" * (10 * 1024**2 + 1)
    for host in ("localhost", "a.example"):
        headers = {"Host": host}
        answer = site.stack.browser().post("/?hidden=http", content=too_large, headers=headers)
        assert answer.status_code == 413
    url = f"{site.origin}/static/x?hidden=https"
    answer = httpx.post(url, content=too_large, verify=site.tls)
    assert answer.status_code == 413
    assert "hidden" not in "".join(site.stack.logs("nginx", since=before))


@nginx_alone
def test_the_usual_port_is_not_named(site):
    options = ["--rm", "--no-deps", "--env=HTTPS_PORT=443", "nginx"]
    configuration = site.stack.compose("run", *options, "nginx", "-T", "-c", "/tmp/nginx.conf")
    assert "301 https://$host$request_uri;" in configuration


@nginx_alone
def test_static_files_say_that_browsers_are_to_keep_to_https(site):
    browser = site.browser()
    page = site.ask(browser, "GET", "/")
    static = re.findall(r'href="(/static/[^"]+\.css)"', page.text)[0]
    headers = site.ask(browser, "GET", static).raise_for_status().headers
    assert headers.get_list("strict-transport-security") == ["max-age=31536000"]
    assert headers["alt-svc"] == f'h3=":{site.port}"; ma=86400'


@nginx_alone
def test_http_3_is_spoken(site):
    (nginx,) = site.stack.containers("nginx")
    command = ["curl", "--http3-only", "--silent", "--show-error", "--output", "/dev/null"]
    command += ["--write-out", "%{http_version} %{response_code}"]
    command += ["--cacert", "/certificates/authority.pem"]
    assert execute(nginx, [*command, "https://localhost:8443/"]).output == b"3 200"
    evil = ["--connect-to", "evil.example:443:localhost:8443", "https://evil.example/"]
    assert execute(nginx, [*command, *evil]).exit_code == 7


def context(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return what offers one version of TLS, and trusts everybody."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_ciphers("ALL:@SECLEVEL=0")  # or the client itself would refuse to offer an old one
    tls.minimum_version = tls.maximum_version = version
    return tls


@nginx_alone
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_no_version_of_tls_is_spoken_that_is_not_safe(site):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with site.open(context(version)) as connection:
            assert connection.version() == version.name.replace("_", ".")
            assert re.search("GCM|CHACHA20", connection.cipher()[0])
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            site.open(context(version))


@nginx_alone
@pytest.mark.parametrize("name", ["evil.example", None])
def test_nobody_gets_a_certificate_by_another_name(site, name):
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        site.open(context(ssl.TLSVersion.TLSv1_3), name)


@nginx_alone
def test_another_host_than_that_of_the_handshake_is_misdirected(site):
    answer = site.browser().get(f"{site.origin}/", headers={"Host": "evil.example"})
    assert answer.status_code == 421


@nginx_alone
def test_a_certificate_is_replaced_while_sockets_stay_open(site, authority):
    with site.socket("/ws/echo/") as connection:
        assert echoes(connection)
        fresh = issue(authority, site.stack.project / "certificates", "localhost")
        eventually("the new certificate", lambda: site.certificate() == fresh, 25)
        assert echoes(connection)


@nginx_alone
def test_without_a_certificate_handshakes_fail_and_the_log_says_why(site, authority):
    def refused() -> bool:
        try:
            site.open().close()
        except ssl.SSLError:
            return True
        return False

    folder = site.stack.project / "certificates"
    with site.socket("/ws/echo/") as connection:
        for file in ("fullchain.pem", "privkey.pem"):
            (folder / file).unlink()
        eventually("a handshake that fails", refused, 25)
        assert echoes(connection)
        said = "".join(site.stack.logs("nginx", stdout=False))
        assert 'cannot load certificate "/certificates/fullchain.pem"' in said
        assert site.stack.browser().get("/readyz").status_code == 200
        fresh = issue(authority, folder, "localhost")
        eventually("a new certificate", lambda: not refused() and site.certificate() == fresh, 25)
        assert echoes(connection)


def pebble(folder: Path, authority: trustme.CA) -> None:
    """Write what Pebble, an ACME authority made for tests, needs, for its folder /pebble."""
    folder.mkdir()
    folder.chmod(0o755)
    issue(authority, folder, "pebble")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    configuration = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": "0.0.0.0:15000",
        "certificate": "/pebble/fullchain.pem",
        "privateKey": "/pebble/privkey.pem",
        "httpPort": 8080,  # nginx's own, which is published as 80
        "tlsPort": 8443,
        "profiles": {"default": {"description": "", "validityPeriod": 7_776_000}},
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": configuration}))


@contextmanager
def acme(stack: Stack, authority: trustme.CA, folder: Path) -> Iterator[int]:
    """Have certificates come from Pebble, which does not run yet; return the port of HTTPS."""
    images.ensure([PEBBLE, "certbot/certbot:v5.5.0"])
    pebble(folder / "pebble", authority)
    volumes = [f"{folder / 'pebble'}:/pebble:ro"]
    services = {
        "pebble": {
            "image": PEBBLE,
            "command": ["-config", "/pebble/pebble.json"],
            # No waiting, and no mistakes on purpose.
            "environment": {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"},
            "volumes": volumes,
        },
        "certificates": {
            "environment": {"REQUESTS_CA_BUNDLE": "/pebble/authority.pem"},
            "volumes": volumes,
        },
        "nginx": {"networks": {"default": {"aliases": [NAME]}}},
    }
    (stack.project / "acme.yaml").write_text(json.dumps({"services": services}))
    port = free_port()
    stack.configure(
        COMPOSE_FILE="compose.yaml:compose.tls.yaml:compose.acme.yaml:tests.yaml:acme.yaml",
        HTTPS_PORT=str(port),
        ALLOWED_HOSTS=f"localhost,{NAME}",
        DOMAIN=NAME,
        ACME_SERVER="https://pebble:14000/dir",
    )
    try:
        stack.compose("up", "--detach", "--wait", "--scale=pebble=0")
        yield port
    finally:
        stack.compose("rm", "--force", "--stop", "pebble", "certificates")
        stack.configure()
        stack.compose("up", "--detach", "--wait")
        docker.from_env().volumes.get(f"{stack.project.name}_certificates").remove()


@pytest.mark.only(asgi_server="uvicorn")
def test_certificates_are_got_and_renewed_while_sockets_stay_open(stack, authority, tmp_path):
    with acme(stack, authority, tmp_path) as port:
        (certbot,) = stack.containers("certificates")
        (nginx,) = stack.containers("nginx")
        # The first try fails: nobody is asked again at once.
        eventually("a failure", lambda: b"Next try in 20m." in certbot.logs())
        assert certbot.logs().count(b"Next try") == 1
        _, status = execute(certbot, ["cat", "/proc/self/status"])
        assert re.search(rb"^Uid:\s+101\s", status, re.MULTILINE)
        assert re.search(rb"^CapBnd:\s+0+$", status, re.MULTILINE)

        stack.compose("up", "--detach", "--no-recreate", "--wait", "--scale=pebble=1")
        started = time.monotonic()
        certbot.restart(timeout=30)
        assert time.monotonic() - started < 20  # SIGTERM is enough
        eventually("a second try", lambda: certbot.logs().count(b"Next try") == 2, 60)
        assert b"Next try in 12h." in certbot.logs(), certbot.logs().decode()
        root = execute(nginx, ["curl", "-fsk", "https://pebble:15000/roots/0"]).output.decode()
        site = Site(stack, port, root, NAME)
        first = site.certificate()
        ada = site.log_in("ada")
        page = site.ask(ada, "GET", "/").raise_for_status()
        assert page.headers.get_list("strict-transport-security") == ["max-age=31536000"]
        assert all(cookie.secure for cookie in ada.cookies.jar)
        with site.socket("/ws/echo/") as connection:
            assert echoes(connection)
            renew = "certbot renew --force-renewal --no-random-sleep-on-renew"
            renew += " --work-dir /tmp --logs-dir /tmp"
            status, output = execute(certbot, renew.split())
            assert status == 0, output.decode()
            eventually("the new certificate", lambda: site.certificate() != first, 25)
            assert echoes(connection)
        nginx.reload()
        assert nginx.attrs["RestartCount"] == 0
