"""Request ids in log records."""

import logging

from serve.request_id import AddRequestId, RequestIdMiddleware


async def test_request_id_is_logged():
    """Records that are logged during a request have its X-Request-ID."""
    records = []

    async def app(scope, receive, send):
        record = logging.makeLogRecord({})
        AddRequestId().filter(record)
        records.append(record)

    headers = [(b"x-request-id", b"4711")]
    await RequestIdMiddleware(app)({"type": "http", "headers": headers}, None, None)
    assert records[0].request_id == "4711"
