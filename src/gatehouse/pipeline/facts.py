"""What a request's head says to the pipeline, read once per connection: SDKs repeat their heads, all but the length.

Rules: only what follows from the head and its route, nothing of the body or of the moment. Reading raises what refuses
the call; then nothing is kept.
"""

from __future__ import annotations

from gatehouse.auth.credentials import KeyHashes, provider_key, refuse_gateway_keys
from gatehouse.http.headers import RequestHeaders, lines
from gatehouse.http.message import Head
from gatehouse.model.call import Route
from gatehouse.routing.bodies import body_plan, is_upload
from gatehouse.routing.paths import recorded_path

_TEXT_LIMIT = 200
_HEXADECIMAL = frozenset("0123456789abcdef")


class Facts:
    """Read from one head on one route."""

    __slots__ = (
        "body_plan", "coding", "host", "identity_lines", "key_hash", "lines", "method", "origin", "parent_span",
        "recorded_path", "route", "trace", "upload", "user_agent",
    )  # fmt: skip

    def __init__(self, head: Head, route: Route, hashes: KeyHashes, filters: RequestHeaders) -> None:
        """Raises `GatehouseError` (401) for a gateway key."""
        self.route = route
        self.method = head.method.decode()
        self.recorded_path = recorded_path(head.path, head.query)
        refuse_gateway_keys(head.fields, head.headers, head.query)
        key = provider_key(head.fields, head.query)
        self.key_hash = hashes.of(key) if key is not None else None
        content_type = head.fields.get(b"content-type")
        self.body_plan = body_plan(route, head.method, content_type)
        self.upload = self.body_plan != "whole" and is_upload(route, head.method, content_type)
        coding = head.fields.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        self.coding = "" if coding == "identity" else coding
        """The body's Content-Encoding; empty if it is not encoded."""
        self.user_agent = text(head.fields.get(b"user-agent"))
        self.trace, self.parent_span = _trace(head.fields.get(b"traceparent"))
        kept = filters.upstream(head.headers)
        self.origin = str(route.origin)
        self.host = (self.origin.partition("://")[2] or "localhost").encode()
        self.lines = lines(kept)
        """The caller's header lines as they go upstream."""
        plain = [pair for pair in kept if pair[0].lower() != b"accept-encoding"]
        self.identity_lines = lines([*plain, (b"accept-encoding", b"identity")])
        """The same for an answer that is to be edited, and must arrive unencoded."""


def facts_of(head: Head, route: Route, hashes: KeyHashes, filters: RequestHeaders) -> Facts:
    """From what is known of the connection's last head, if this one repeats it."""
    known = head.kin.facts
    if isinstance(known, Facts) and known.route is route:
        return known
    found = Facts(head, route, hashes, filters)
    head.kin.facts = found
    return found


def text(value: bytes | None) -> str | None:
    """A header's value for the record."""
    return value[:_TEXT_LIMIT].decode("latin-1") if value else None


def _trace(value: bytes | None) -> tuple[str | None, str | None]:
    """W3C traceparent (`00-{32 hex}-{16 hex}-{flags}`): trace id and parent span id, if it is one."""
    if value is None or len(value) < 55:
        return None, None
    version, trace, parent, *_ = [*value.decode("latin-1").lower().split("-"), "", ""]
    if version == "ff" or len(trace) != 32 or len(parent) != 16 or not _HEXADECIMAL.issuperset(trace + parent):
        return None, None
    if not trace.strip("0") or not parent.strip("0"):
        return None, None
    return trace, parent
