"""What coding agents share in these tests: one request with the headers they send, read as far as a test wants."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.running import House, Record


@contextmanager
def asked(
    house: House, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The answer to one request on a connection of its own, which is closed with the block, read or not."""
    connection = http.client.HTTPConnection("127.0.0.1", house.gateway.port, timeout=20)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        with connection.getresponse() as response:
            yield response
    finally:
        connection.close()


def said(response: http.client.HTTPResponse) -> Any:
    """The JSON of an answer, decoded as a client would."""
    body = response.read()
    return json.loads(gzip.decompress(body) if response.headers["content-encoding"] == "gzip" else body)


def check_faithful(record: Record, sent: bytes, forwarded: bytes, received: bytes, answered: bytes) -> None:
    """I1: both bodies are byte for byte what the peer sent, and the record says so."""
    assert forwarded == sent
    assert received == answered
    assert record.decision["request_sha256"] == hashlib.sha256(sent).hexdigest()
    assert record.outcome["response_sha256"] == hashlib.sha256(received).hexdigest()
    assert "forwarded_sha256" not in record.decision
    assert not record.outcome.get("rewritten")


def check_metered(record: Record, usage: Mapping[str, int], **decision: Any) -> None:
    """Counted by the provider's own numbers, priced, and known for what it was."""
    assert record.usage == usage
    assert (record.outcome["usage_source"], record.outcome["usage_check"]) == ("provider", "ok")
    assert record.outcome["price"] == "known"
    assert record.outcome["cost"] > 0
    assert {name: record.decision.get(name) for name in decision} == decision
