"""The endpoint that Prometheus scrapes, asked over real sockets by clients that send anything."""

import asyncio
import logging

import pytest

from tests.export.lab import Known
from vmqtui.export.endpoint import Endpoint


async def answer(endpoint: Endpoint, target: str, host: str) -> int:
    """The status that a request gets."""
    port = int(endpoint.url.rpartition(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(60):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("/metrics", "localhost", 200),
        ("/metrics", "127.0.0.1:9", 200),
        ("/metrics", "[::1]", 200),
        ("/metrics", "rebound.example", 421),
        ("/metrics", "a:b", 421),
        ("/metrics", "[x", 421),
        ("/metrics", "", 421),
        ("http://rebound.example/metrics", "localhost", 421),
        ("http://localhost/metrics", "rebound.example", 200),
        ("http://a:b/metrics", "localhost", 400),
    ],
)
async def test_on_loopback_only_requests_for_it_are_answered_and_none_fails(
    target: str, host: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with Endpoint(Known().as_watcher, "127.0.0.1", 0, filters=False) as endpoint:
        assert await answer(endpoint, target, host) == status
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_a_malformed_request_is_logged_in_a_line_without_its_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Endpoint(Known().as_watcher, "127.0.0.1", 0, filters=False) as endpoint:
        assert await answer(endpoint, "http://a:b/?token=secret", "localhost") == 400
    (record,) = (one for one in caplog.records if one.name.startswith(("vmqtui", "aiohttp")))
    assert (record.getMessage(), record.exc_info) == ("request_malformed", None)
    assert "secret" not in str(vars(record))
