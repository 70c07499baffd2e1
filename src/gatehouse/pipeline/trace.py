"""W3C trace context: what a caller sent of it, and what goes upstream.

The gateway takes part in a trace as the specification says (https://www.w3.org/TR/trace-context/): what it sends has
the caller's trace id and flags, and as parent its own span, the CLIENT span that the store keeps of the call. Rules:
an invalid `traceparent` counts as absent, and what belongs to it goes with it. Upstreams that are not configured to
take part (`providers.*.trace_context`) get none of these headers: they are the caller's, and baggage may say anything.
"""

from __future__ import annotations

import re
from typing import Final

from gatehouse.http.message import Head
from gatehouse.model.span import CLIENT, span_id

TRACE_HEADERS: Final = frozenset((b"traceparent", b"tracestate", b"baggage"))

_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KNOWN_FLAGS: Final = 0b11
"""Sampled, and random trace id; others must be sent as zero."""


class TraceContext:
    """A caller's trace, read once per head."""

    __slots__ = ("_after", "_before", "parent", "trace")

    def __init__(self, trace: str, parent: str, flags: int, further: bytes) -> None:
        """`further`: header lines that go with it."""
        self.trace = trace
        """32 hex digits."""
        self.parent = parent
        """The caller's span, 16 hex digits."""
        self._before = b"traceparent: 00-%b-" % trace.encode()
        self._after = b"-%02x\r\n%b" % (flags, further)

    def lines(self, call: str) -> bytes:
        """The header lines for a call that goes upstream."""
        return self._before + span_id(call, CLIENT).encode() + self._after


def trace_context(head: Head) -> TraceContext | None:
    """What the head says of a trace; `None` without exactly one `traceparent`, and a valid one."""
    if b"traceparent" not in head.fields:
        return None
    sent: dict[bytes, list[bytes]] = {}
    for name, value in head.headers:
        name = name.lower()
        if name in TRACE_HEADERS:
            sent.setdefault(name, []).append(value)
    [value, *others] = sent[b"traceparent"]
    match = _TRACEPARENT.fullmatch(value.strip().lower())
    if match is None or others:
        return None
    version, trace, parent, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None) or not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    # One list each, in however many lines it came.
    further = [b"%b: %b\r\n" % (name, b",".join(sent[name])) for name in (b"tracestate", b"baggage") if name in sent]
    return TraceContext(trace.decode(), parent.decode(), int(flags, 16) & _KNOWN_FLAGS, b"".join(further))
