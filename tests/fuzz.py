"""Generators of malformed requests, handshakes, frames and messages, for fuzzing.

The same seed yields the same input.
"""

import base64
import struct
from random import Random
from uuid import UUID

METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH"]
METHODS += ["PROPFIND", "get", "G\0T", "GET\x80", "P*ST"]
POSTED_TO = ["/", "/rooms/lobby/", "/accounts/login/", "/accounts/logout/", "/admin/login/"]
PATHS = [
    *POSTED_TO,
    *("/admin/", "/whoami/", "/livez", "/readyz", "/ws/", "/ws/echo/", "/ws/rooms/lobby/"),
    *("", "*", "//", "/./", "/..", "/../..", "/%", "/%zz", "/%00", "/\0", "/%ff", "/\xff", "/;a=b"),
    *(
        "/static/",
        "/static/%00",
        "/static/../config/settings.py",
        "/static/%2e%2e/%2e%2e/etc/passwd",
    ),
    *(
        "/rooms/%00/",
        "/rooms/%ff/",
        "/rooms/../admin/",
        "/rooms//",
        "/rooms/lobby/?%",
        "/rooms/a b/",
    ),
    *(
        "//evil.example/",
        "/\\evil.example/",
        "http://evil.example/",
        "localhost:1",
        "/%0d%0aX-Evil:1",
    ),
    *("/?room=%00", "/?room=%ff", "/?room=//evil.example", "/?room=..", "/?a?b&&=&=%", "/?\xff"),
    *("/accounts/login/?next=//evil.example", "/accounts/login/?next=%0d%0aX-Evil:1", "/missing/"),
    *("/accounts/login/?next=%00&%00=%ff", "/admin/login/?next=%00", "/admin/?next=%00"),
    *("/" + "a" * 8000, "/?room=" + "x" * 7000, "/" + "a/" * 3000, "/?" + "a&" * 3000),
]
VERSIONS = ["HTTP/1.1"] * 25 + ["HTTP/1.0"] * 3
VERSIONS += ["HTTP/0.9", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1x", "HTTX/1.1", "HTTP/1"]
HOSTS = ["evil.example", "localhost:99999", "localhost:x", "[::1", "", "a b", "localhost\xff", "*"]
HOSTS += ["localhost.", "LOCALHOST", "localhost/", "x" * 300, "127.0.0.1", "localhost\0"]
NULS = 'sessionid="' + r"\000" * 9 + '"'
"""A session key of NULs, quoted as cookies may be: https://www.rfc-editor.org/rfc/rfc2109"""
HEADERS = [
    *("Cookie: sessionid=x", "Cookie: sessionid=\xff\xfe", "Cookie: =;=;;", "Cookie: sessionid"),
    *(
        f"Cookie: {NULS}",
        "Cookie: csrftoken=\xe9",
        r'Cookie: csrftoken="\012"',
        "Cookie: messages=x",
    ),
    *("Cookie: " + "a=b; " * 1500, "Cookie: sessionid=" + "z" * 7000, "Cookie: messages=W10:1:x"),
    *("Content-Length: x", "Content-Length: -1", "Content-Length: 99999999999999999999"),
    *("Content-Length: +5", "Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 6"),
    *("Transfer-Encoding: gzip", "Transfer-Encoding: xchunked", "Transfer-Encoding: \x0bchunked"),
    *("Transfer-Encoding : chunked", "Transfer-Encoding: chunked, chunked", "Expect: 100-continue"),
    *("Expect: the unexpected", "Upgrade: h2c\r\nConnection: Upgrade", "Connection: upgrade"),
    *("Upgrade: websocket", "Upgrade: websocket\r\nConnection: Upgrade", "X-Request-ID: \xff\xfe"),
    *("X-Forwarded-For: \xff, ::1, 1.2.3.4", "X-Forwarded-Proto: https, \xff", "Forwarded: for=_x"),
    *("X-Forwarded-Host: evil.example", "Range: bytes=0-0,-1,5-", "Range: bytes=" + "0-," * 1000),
    *('If-None-Match: "', "If-Modified-Since: x", "Accept-Language: " + "a-" * 2000, "Accept: \0"),
    *("Accept-Language: *;q=x", "Accept-Encoding: \xff", "Referer: \xff", "Origin: null"),
    *("Origin: http://[::1", "User-Agent: " + "\xff" * 900, "X: a\n b", "X: a\r\n b", "X : y"),
    *(": y", "no colon", "X\0: y", "Authorization: Basic \xff", "Authorization: x", "X: a\rb"),
    *("Content-Type: multipart/form-data", "Content-Type: multipart/form-data; boundary=\xff"),
    *(
        "Content-Type: x/y; charset=\0",
        "Content-Type: text/plain; charset=zlib",
        "X-CSRFToken: \xff",
    ),
    *("X-Big: " + "x" * 30000, "\r\n".join(f"X-{number}: y" for number in range(150))),
]
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
FILE = b'--b\r\nContent-Disposition: form-data; name="f"; filename="\0../../x"\r\n'
BODIES = [
    (FORM, b"username=nobody&password=wrong"),
    (FORM, b"username=%00&password=%00"),
    (FORM, b"username=nobody&password=%00"),
    (FORM, b"username=%ff%fe&password=\xff&x=%"),
    (FORM, b"username=%ED%A0%80&password=%ED%A0%80"),
    (FORM, b"username=" + b"x" * 100_000),
    (FORM, b"&".join(b"a%d=b" % number for number in range(3000))),
    (FORM, b"username=a&username=b&next=//evil.example&next=%0d%0a"),
    (f"{FORM}; charset=utf-7", b"username=+AGE-"),
    (f"{FORM}; charset=idna", b"username=a..b"),
    (f"{FORM}; charset=nonsense", b"username=a"),
    (MULTIPART, b"--b\r\nnonsense"),
    (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="username'),
    (MULTIPART, b"--b\r\n" * 500 + b"--b--"),
    (MULTIPART, FILE + b"Content-Transfer-Encoding: base64\r\n\r\n?\r\n--b--"),
    (MULTIPART + "b" * 300, b"--b--"),
    ("multipart/form-data; boundary=", b"----"),
    ("multipart/form-data", b"----"),
    ("application/json", b'{"username": "\xff", [[['),
    ("application/json", b"[" * 50_000),
    ("", b"\0" * 1000),
]


def request(random: Random, host: str, logged_in: str) -> bytes:
    """Return a request.

    Args:
        random: the source of randomness.
        host: the value of most Host headers.
        logged_in: the headers of a logged-in user, added to half of the requests.
    """
    method, path, body = random.choice(METHODS), random.choice(PATHS), b""
    headers = random.sample(HEADERS, random.choice([0, 1, 1, 2, 3]))
    if random.random() < 0.5:
        method, path = "POST", random.choice([*POSTED_TO, random.choice(PATHS)])
        kind, body = random.choice(BODIES)
        length = random.choice([f"Content-Length: {len(body)}"] * 4 + [""])
        headers = [*headers[:1], f"Content-Type: {kind}", length]
        if random.random() < 0.2:
            headers.append("Transfer-Encoding: chunked")
    if random.random() < 0.5:
        headers.append(logged_in)
    several = random.choices([host, *HOSTS], k=random.randrange(3))
    names = [host] if random.random() < 0.9 else several
    headers += [f"Host: {name}" for name in names]
    lines = [f"{method} {path} {random.choice(VERSIONS)}", *headers, "Connection: close"]
    return "\r\n".join(line for line in lines if line).encode("latin-1") + b"\r\n\r\n" + body


SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
SMUGGLING = [
    "Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer-Encoding: \tchunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer-Encoding:\r\n chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{smuggled}",
    "Transfer_Encoding: chunked\r\nContent-Length: {length}\r\n\r\n0\r\n\r\n{smuggled}",
    "Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{smuggled}",
    "Content-Length: 0, {length}\r\n\r\n{smuggled}",
    "Content-Length: +{length}\r\n\r\n{smuggled}",
    "Content_Length: {length}\r\n\r\n{smuggled}",
    "X: y\r\n Content-Length: {length}\r\n\r\n{smuggled}",
    "Transfer-Encoding: chunked\r\n\r\n{length:x};\n{smuggled}\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{smuggled}",
    "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n{smuggled}",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: {length}\r\n\r\n{smuggled}",
]
"""Ambiguous body lengths. https://www.rfc-editor.org/rfc/rfc9112#section-11.2"""


def smuggling(path: str, host: str) -> list[bytes]:
    """Return requests with a second request inside or after their body."""
    smuggled = SMUGGLED.format(host=host)
    requests = []
    for template in SMUGGLING:
        head, _, body = template.partition("\r\n\r\n")
        body = body.format(smuggled=smuggled, length=len(smuggled))
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\n{head.format(length=len(body))}"
        requests.append(f"{head}\r\n\r\n{body}".encode())
    return requests


def opening(port: int, path: str, cookie: str, changes: dict[str, list[str]]) -> bytes:
    """Return a WebSocket handshake with some headers changed, repeated or left out."""
    headers = {
        "Host": [f"localhost:{port}"],
        "Upgrade": ["websocket"],
        "Connection": ["Upgrade"],
        "Sec-WebSocket-Key": [base64.b64encode(bytes(16)).decode()],
        "Sec-WebSocket-Version": ["13"],
        "Origin": [f"http://localhost:{port}"],
        "Cookie": [cookie],
    } | changes
    lines = [f"{name}: {value}" for name, values in headers.items() for value in values]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


DEFLATE = "permessage-deflate; "
CHANGES = {
    "Host": ["", "evil.example", "localhost:99999", "[::1", "\xff"],
    "Upgrade": ["", "WEBSOCKET", "websocket, h2c", "h2c", "x", "\xff"],
    "Connection": ["", "upgrade, close", "keep-alive", "close", "\xff"],
    "Sec-WebSocket-Key": ["", "x", "===", "AAAA", "a" * 500, "\xff" * 16, "dGhlIHNhbXBsZSBub25jZQ"],
    "Sec-WebSocket-Version": ["", "8", "0", "14", "13, 8", "x", "\xff", "9" * 500],
    "Sec-WebSocket-Protocol": ["", ",", "a, a", "x" * 2000, "\xff", "a b", ", ".join(["p"] * 900)],
    "Sec-WebSocket-Extensions": [
        *(
            f"{DEFLATE}client_max_window_bits=99",
            f"{DEFLATE}x=",
            "\xff",
            ";;",
            'x; y="',
            "a," * 900,
        ),
        *(
            f"{DEFLATE}server_max_window_bits=0",
            f"{DEFLATE}server_max_window_bits=\xb2",
            "x" * 3000,
        ),
        *(f"{DEFLATE}server_max_window_bits=x", DEFLATE + "a; " * 200),
    ],
    "Origin": [
        "",
        "null",
        "http://[::1",
        "http://evil.example",
        "http://localhost:x",
        "\xff",
        "x" * 999,
    ],
    "Cookie": ["sessionid=x", "\xff", NULS, "=;", "sessionid=" + "é" * 20],
    "Content-Length": ["0", "x"],
    "Transfer-Encoding": ["x"],
    "Authorization": [
        "",
        "Ticket",
        "Ticket \xff",
        "Ticket " + "x" * 3000,
        "Ticket a:b:c",
        "Basic x",
    ],
    "X-Request-ID": ["\xff" * 99],
}
POSITIONS = [
    *("", "x", ":", "room.lobby:", "room.lobby:1-1", "room.lobby:-1--1", "room.lobby:\xb2-\xb2"),
    *("room.lobby:" + "9" * 4000 + "-" + "9" * 3000, "room.lobby:1e9-0x1", "room.lobby:1-1-1"),
    *("room.lobby:0-99999999999999999999", "%00", "%ff", "room.lobby:%00-%00", "%F0%9F%9A%80"),
    *("&position=".join(["room.lobby:1-1"] * 400), "room.lobby:+1-_1", "room.lobby:1_0-1"),
    *("&" * 5000, ";position=x", "room.lobby:%D9%A1-%D9%A1", "room.lobby:18446744073709551616-0"),
]


def handshake(random: Random, port: int, cookie: str) -> bytes:
    """Return a handshake, valid or malformed."""
    changes = {}
    for name in random.sample(sorted(CHANGES), random.choice([0, 1, 1, 2, 3])):
        changes[name] = random.choices(CHANGES[name], k=random.choice([0, 1, 1, 1, 2]))
    paths = ["/ws/echo/", "/ws/rooms/lobby/", "/ws/rooms/lobby/", "/ws/x\xff", "/ws/%00/"]
    path = f"{random.choice(paths)}?position={random.choice(POSITIONS)}"
    return opening(port, path, cookie, changes)


def some_bytes(random: Random, count: int) -> bytes:
    """Return `count` random bytes."""
    return bytes(random.randrange(256) for _ in range(count))


def frame(random: Random) -> bytes:
    """Return a frame: https://www.rfc-editor.org/rfc/rfc6455#section-5"""
    contents = [b"", b"x", some_bytes(random, 5), b"\x03\xe8", b"\x00\x01", b'{"type":"ping"}']
    data = random.choice(contents) * random.choice([1, 1, 1, 30])
    known = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0x08, 0x09, 0xC1]
    first = random.choice([random.choice(known)] * 2 + [random.randrange(256)])
    masked = random.choice([0x80] * 8 + [0])
    length = random.choice([len(data)] * 6 + [random.randrange(126)])
    if length < 126 and random.random() < 0.9:
        head = bytes([first, masked | length])
    elif random.random() < 0.5:
        head = bytes([first, masked | 126]) + struct.pack(
            ">H", random.choice([len(data), 1, 65535])
        )
    else:
        head = bytes([first, masked | 127]) + struct.pack(
            ">Q", random.choice([len(data), 1, 2**63])
        )
    return head + (bytes(4) if masked else b"") + data


VALUES = [
    *("null", "true", "0", "-1", "1e999", "9" * 5000, "-0.0", '""', '"x"', "[]", "{}", "NaN"),
    *(r'"\ud800"', r'"\udc00\ud800"', r'"\u0000"', r'"\u202e\ufeff"', '"🚀"', '"\xff"', "1.5"),
    *("[" * 2000 + "]" * 2000, "[" * 200_000, '{"a":' * 2000 + "1" + "}" * 2000, "Infinity"),
    *('"' + "x" * 2001 + '"', '"' + " " * 50 + '"', '"say"', '"ping"', '"{urn:uuid:0}"'),
    '"00000000-0000-0000-0000-000000000000"',
]
KEYS = ["type", "text", "key"]


def message(random: Random) -> str | bytes:
    """Return a message for a room, nearly valid or not at all."""
    kind = random.random()
    if kind < 0.15:
        return random.choice(VALUES)
    if kind < 0.25:
        return some_bytes(random, random.randrange(50))
    content = {"type": '"say"', "text": '"hello"', "key": f'"{UUID(int=random.getrandbits(128))}"'}
    more = [*KEYS * 3, "room", "", "__class__", r"\ud800", r"\u0000"]
    for key in random.choices(more, k=random.choice([1, 1, 2])):
        content[key] = random.choice(VALUES)
    text = "{" + ",".join(f'"{key}":{value}' for key, value in content.items()) + "}"
    return text if kind < 0.9 else text[: random.randrange(len(text))]
