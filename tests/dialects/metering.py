"""How the metering tests run an answer through an endpoint's meter."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gatehouse.dialects.answer import Tally, meter_answer
from gatehouse.dialects.registry import for_endpoint
from gatehouse.http.sse import DEFAULT_LIMIT
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading, Usage
from tests.dialects.samples import JSON, cut


def metered(
    route: tuple[Dialect, str],
    body: bytes,
    content_type: str = JSON,
    *,
    cuts: list[int] | None = None,
    ask: Ask | None = None,
    status: int = 200,
    complete: bool = True,
) -> Reading:
    """What metering `body` finds out. The ask is of 400 bytes unless given: 100 estimated tokens."""
    ask = ask or Ask(operation="chat", input_bytes=400, stream=True)
    meter = for_endpoint(*route).meter(ask, content_type, status)
    for piece in cut(body, cuts or []):
        meter.feed(piece)
    reading = meter.finish(complete=complete)
    msgspec.json.encode(reading)  # it goes into a record
    return reading


def read_by(tally: Callable[[], Tally], pieces: list[bytes], content_type: str, complete: bool) -> Reading:
    """What a tally makes of an answer, fed piece by piece. The ask is of 400 bytes."""
    meter = meter_answer(Ask("chat", input_bytes=400), tally, content_type, 200, DEFAULT_LIMIT)
    for piece in pieces:
        meter.feed(piece)
    return meter.finish(complete=complete)


def first_token_at(route: tuple[Dialect, str], body: bytes, content_type: str, ask: Ask) -> int | None:
    """After how many bytes, fed one by one, `first_token` flipped."""
    meter = for_endpoint(*route).meter(ask, content_type, 200)
    flips = []
    for at in range(len(body)):
        meter.feed(body[at : at + 1])
        flips.append(meter.first_token)
    assert flips == sorted(flips), "it never flips back"
    return flips.index(True) + 1 if True in flips else None


def provider(reading: Reading) -> Usage:
    """The usage, which the provider must have reported in full."""
    assert reading.source == "provider" and reading.usage is not None
    return reading.usage


def estimated(reading: Reading) -> Usage:
    """The usage, which must be marked as an estimate."""
    assert reading.source == "estimated" and reading.check == "unchecked" and reading.usage is not None
    return reading.usage
