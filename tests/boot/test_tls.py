"""HTTPS, with the operator's own certificates and with certificates obtained by ACME."""

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

from tests.boot.test_limits import gixy
from tests.docker import images
from tests.stack import PASSWORD, Stack, cookie_header, eventually, execute, form, free_port

nginx_alone = pytest.mark.only(asgi_server="uvicorn", topology="single")

PEBBLE = "ghcr.io/letsencrypt/pebble:2.10.0"
NAME = "chat.example.org"


@dataclass(frozen=True)
class Site:
    """A site over HTTPS, as its visitors see it."""

    stack: Stack
    port: int
    authority: str
    """The only trusted certificate authority, as PEM."""
    name: str = "localhost"

    @property
    def tls(self) -> ssl.SSLContext:
        """A new context that trusts this authority only; a new one, as clients modify theirs."""
        return ssl.create_default_context(cadata=self.authority)

    @property
    def origin(self) -> str:
        """The origin of this site's pages."""
        return f"https://{self.name}:{self.port}"

    def open(self, tls: ssl.SSLContext | None = None, name: str | None = "") -> ssl.SSLSocket:
        """Connect and shake hands, with a server name unless None. Raises ssl.SSLError."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        try:
            return (tls or self.tls).wrap_socket(
                connection, server_hostname=self.name if name == "" else name
            )
        except OSError:
            connection.close()
            raise

    def certificate(self) -> int:
        """Return the serial number of the certificate that a new connection receives."""
        with self.open() as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(True)).serial_number

    def request(self, client: httpx.Client, method: str, path: str, **options) -> httpx.Response:
        """Send a request as from a page of this site, whose name need not be in DNS."""
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
        """Return an HTTP client with HTTP/2."""
        return httpx.Client(verify=self.tls, http2=True, timeout=20)

    def log_in(self, username: str) -> httpx.Client:
        """Return an HTTP client that has logged in."""
        client = self.browser()
        self.request(client, "GET", "/accounts/login/").raise_for_status()
        fields = form(client, username=username, password=PASSWORD)
        answer = self.request(client, "POST", "/accounts/login/", data=fields)
        assert answer.status_code == 302, answer.text
        return client

    def socket(self, path: str) -> AbstractContextManager[ClientConnection]:
        """Open a WebSocket, as a page of this site does."""
        return connect(
            f"wss://{self.name}:{self.port}{path}",
            origin=self.origin,
            ssl=self.tls,
            sock=socket.create_connection(("127.0.0.1", self.port), timeout=20),
            open_timeout=20,
            proxy=None,
        )


def echoes(connection: ClientConnection) -> bool:
    """Return whether a socket returns a message."""
    connection.send("hello")
    return connection.recv(timeout=20) == "hello"


def issue(authority: trustme.CA, folder: Path, *names: str) -> int:
    """Write a certificate and its key to privkey.pem and fullchain.pem.

    Returns:
        the certificate's serial number.
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
    """Return the certificate authority that these tests trust."""
    return trustme.CA()


@pytest.fixture(scope="module")
def site(stack: Stack, authority) -> Iterator[Site]:
    """Run the site with certificates of the test's own authority; only nginx is restarted."""
    folder = stack.project / "certificates"
    folder.mkdir(exist_ok=True)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    issue(authority, folder, "localhost")
    port = free_port()
    files = "compose.yaml:compose.tls.yaml:tests.yaml"
    with stack.nginx(COMPOSE_FILE=files, HTTPS_PORT=str(port)):
        yield Site(stack, port, authority.cert_pem.bytes().decode())
    shutil.rmtree(folder)


def test_https(site):
    """Pages and WebSockets are served over HTTPS, pages by HTTP/2."""
    root = site.log_in("root")
    whoami = site.request(root, "GET", "/whoami/").raise_for_status()
    assert whoami.http_version == "HTTP/2"
    assert whoami.json()["scheme"] == "https"
    assert whoami.json()["host"] == f"localhost:{site.port}"
    with site.socket("/ws/echo/") as connection:
        assert echoes(connection)


@nginx_alone
def test_nginx_and_gixy(site, tmp_path):
    """nginx and gixy find nothing wrong with the configuration for TLS."""
    assert "No issues found" in gixy(site.stack, tmp_path)


@nginx_alone
def test_http_redirects(site):
    """HTTP redirects to HTTPS, except for probes and ACME challenges."""
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
def test_no_query_strings_in_logs(site):
    """No log contains the query string of an upload refused over HTTP or HTTPS."""
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
def test_default_port(site):
    """Redirects to the default port do not name it."""
    options = ["--rm", "--no-deps", "--env=HTTPS_PORT=443", "nginx"]
    configuration = site.stack.compose("run", *options, "nginx", "-T", "-c", "/tmp/nginx.conf")
    assert "301 https://$host$request_uri;" in configuration


@nginx_alone
def test_static_file_headers(site):
    """Static files are sent with HSTS and Alt-Svc headers."""
    browser = site.browser()
    page = site.request(browser, "GET", "/")
    static = re.findall(r'href="(/static/[^"]+\.css)"', page.text)[0]
    headers = site.request(browser, "GET", static).raise_for_status().headers
    assert headers.get_list("strict-transport-security") == ["max-age=31536000"]
    assert headers["alt-svc"] == f'h3=":{site.port}"; ma=86400'


@nginx_alone
def test_http3(site):
    """nginx serves HTTP/3, to known server names only."""
    (nginx,) = site.stack.containers("nginx")
    command = ["curl", "--http3-only", "--silent", "--show-error", "--output", "/dev/null"]
    command += ["--write-out", "%{http_version} %{response_code}"]
    command += ["--cacert", "/certificates/authority.pem"]
    assert execute(nginx, [*command, "https://localhost:8443/"]).output == b"3 200"
    evil = ["--connect-to", "evil.example:443:localhost:8443", "https://evil.example/"]
    assert execute(nginx, [*command, *evil]).exit_code == 7


def context(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a context that offers one version of TLS and verifies no certificate."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_ciphers("ALL:@SECLEVEL=0")  # otherwise OpenSSL does not offer the old versions
    tls.minimum_version = tls.maximum_version = version
    return tls


@nginx_alone
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_tls_versions(site):
    """TLS 1.2 and 1.3 are accepted; older versions are refused."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with site.open(context(version)) as connection:
            assert connection.version() == version.name.replace("_", ".")
            assert re.search("GCM|CHACHA20", connection.cipher()[0])
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            site.open(context(version))


@nginx_alone
@pytest.mark.parametrize("name", ["evil.example", None])
def test_unknown_server_name(site, name):
    """A TLS handshake with an unknown server name, or none, is refused."""
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        site.open(context(ssl.TLSVersion.TLSv1_3), name)


@nginx_alone
def test_misdirected_request(site):
    """A Host header that differs from the TLS server name is answered by 421."""
    answer = site.browser().get(f"{site.origin}/", headers={"Host": "evil.example"})
    assert answer.status_code == 421


@nginx_alone
def test_certificate_replacement(site, authority):
    """A replaced certificate is loaded without closing open sockets."""
    with site.socket("/ws/echo/") as connection:
        assert echoes(connection)
        fresh = issue(authority, site.stack.project / "certificates", "localhost")
        eventually("the new certificate", lambda: site.certificate() == fresh, 25)
        assert echoes(connection)


@nginx_alone
def test_missing_certificate(site, authority):
    """Without a certificate, handshakes fail, and the log names the missing file."""

    def is_refused() -> bool:
        try:
            site.open().close()
        except ssl.SSLError:
            return True
        return False

    folder = site.stack.project / "certificates"
    with site.socket("/ws/echo/") as connection:
        for file in ("fullchain.pem", "privkey.pem"):
            (folder / file).unlink()
        eventually("a handshake that fails", is_refused, 25)
        assert echoes(connection)
        logged = "".join(site.stack.logs("nginx", stdout=False))
        assert 'cannot load certificate "/certificates/fullchain.pem"' in logged
        assert site.stack.browser().get("/readyz").status_code == 200
        fresh = issue(authority, folder, "localhost")
        eventually(
            "a new certificate", lambda: not is_refused() and site.certificate() == fresh, 25
        )
        assert echoes(connection)


def write_pebble_files(folder: Path, authority: trustme.CA) -> None:
    """Write the files of the folder /pebble for Pebble, an ACME server made for tests."""
    folder.mkdir()
    folder.chmod(0o755)
    issue(authority, folder, "pebble")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    configuration = {
        "listenAddress": "0.0.0.0:14000",
        "managementListenAddress": "0.0.0.0:15000",
        "certificate": "/pebble/fullchain.pem",
        "privateKey": "/pebble/privkey.pem",
        "httpPort": 8080,  # that of nginx, which is published as 80
        "tlsPort": 8443,
        "profiles": {"default": {"description": "", "validityPeriod": 7_776_000}},
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": configuration}))


@contextmanager
def acme(stack: Stack, authority: trustme.CA, folder: Path) -> Iterator[int]:
    """Configure Pebble as the ACME server, without starting it; yield the port of HTTPS."""
    images.ensure([PEBBLE, "certbot/certbot:v5.5.0"])
    write_pebble_files(folder / "pebble", authority)
    volumes = [f"{folder / 'pebble'}:/pebble:ro"]
    services = {
        "pebble": {
            "image": PEBBLE,
            "command": ["-config", "/pebble/pebble.json"],
            # Without random delays and deliberately rejected nonces.
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
def test_certificate_renewal(stack, authority, tmp_path):
    """Certificates are obtained and renewed by ACME without closing open sockets."""
    with acme(stack, authority, tmp_path) as port:
        (certbot,) = stack.containers("certificates")
        (nginx,) = stack.containers("nginx")
        # The first attempt fails, and is not repeated at once.
        eventually("a failed attempt", lambda: b"Next try in 20m." in certbot.logs())
        assert certbot.logs().count(b"Next try") == 1
        _, status = execute(certbot, ["cat", "/proc/self/status"])
        assert re.search(rb"^Uid:\s+101\s", status, re.MULTILINE)
        assert re.search(rb"^CapBnd:\s+0+$", status, re.MULTILINE)

        stack.compose("up", "--detach", "--no-recreate", "--wait", "--scale=pebble=1")
        started = time.monotonic()
        certbot.restart(timeout=30)
        assert time.monotonic() - started < 20  # SIGTERM stops it, before SIGKILL
        eventually("a second attempt", lambda: certbot.logs().count(b"Next try") == 2, 60)
        assert b"Next try in 12h." in certbot.logs(), certbot.logs().decode()
        root = execute(nginx, ["curl", "-fsk", "https://pebble:15000/roots/0"]).output.decode()
        site = Site(stack, port, root, NAME)
        first = site.certificate()
        ada = site.log_in("ada")
        page = site.request(ada, "GET", "/").raise_for_status()
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
