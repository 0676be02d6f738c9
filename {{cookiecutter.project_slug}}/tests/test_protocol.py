"""The wire protocol stands once in Python and once in JavaScript, and both agree."""

import ast
import re
from pathlib import Path

import pytest

from config.env import BASE_DIR
from realtime import protocol
from realtime.brokers.base import Position
from realtime.protocol import CloseCode, MessageType

CLIENT = BASE_DIR / "realtime" / "static" / "realtime" / "client.js"
PROTOCOL = BASE_DIR / "realtime" / "protocol.py"
SOURCES = [
    path
    for package in ("config", "realtime", "rooms", "serve")
    for path in sorted((BASE_DIR / package).rglob("*.py"))
    # redis-py has a `type`, too.
    if path not in (PROTOCOL, BASE_DIR / "realtime" / "brokers" / "redis" / "streams.py")
]


def table(name: str) -> dict[str, str]:
    """Return an exported object of client.js: each of its lines is `NAME: value,`."""
    body = CLIENT.read_text().partition(f"export const {name} = ")[2].partition("\n}")[0]
    return dict(re.findall(r'^ +(\w+): "?([^",]+)"?,', body, re.MULTILINE))


def test_close_codes_of_client():
    """client.js has the same close codes."""
    assert table("CloseCode") == {code.name: str(code.value) for code in CloseCode}


def test_message_types_of_client():
    """client.js has the same message types."""
    assert table("MessageType") == {kind.name: kind.value for kind in MessageType}


def written(node: ast.AST) -> set[str]:
    """Return the message types that a dictionary, a pattern or a JSON text spells out."""
    match node:
        case ast.Dict(keys=names, values=values):
            pairs = zip(names, values, strict=True)
        case ast.MatchMapping(keys=names, patterns=patterns):
            pairs = zip(
                names, (getattr(pattern, "value", None) for pattern in patterns), strict=True
            )
        case ast.Constant(value=str(text)):
            return set(re.findall(r'"type": ?"(\w+)"', text)) & set(MessageType)
        case _:
            return set()
    return {
        value.value
        for name, value in pairs
        if isinstance(name, ast.Constant)
        and name.value == "type"
        and isinstance(value, ast.Constant)
    } & set(MessageType)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(BASE_DIR)))
def test_messages_stand_once(path: Path):
    """No other module spells out a wire message, nor the number of a close code."""
    tree = ast.parse(path.read_text())
    assert {kind for node in ast.walk(tree) for kind in written(node)} == set()
    numbers = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert not numbers & {int(code) for code in CloseCode}


def test_messages():
    """Messages are compact JSON objects."""
    position = Position(7, 1)
    assert [
        protocol.PONG,
        protocol.reconnect(5),
        protocol.subscribed("news", position, recovered=True),
        protocol.message("news", position, '{"a":"ü"}'),
        protocol.presence("news", ["ada"]),
    ] == [
        '{"type":"pong"}',
        '{"type":"reconnect","after_ms":5}',
        '{"type":"subscribed","stream":"news","epoch":7,"seq":1,"recovered":true}',
        '{"type":"message","stream":"news","epoch":7,"seq":1,"data":{"a":"ü"}}',
        '{"type":"presence","stream":"news","members":["ada"]}',
    ]
