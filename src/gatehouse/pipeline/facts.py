"""What a request's head says to the pipeline, read once per connection: SDKs repeat their heads, all but the length.

Rules: only what follows from the head and its route, nothing of the body or of the moment. Reading raises what refuses
the call; then nothing is kept.
"""

from __future__ import annotations

from gatehouse.auth.credentials import KeyHashes, provider_key, refuse_gateway_keys
from gatehouse.http.headers import RequestHeaders, lines
from gatehouse.http.message import Head
from gatehouse.model.call import Route
from gatehouse.pipeline.lineage import lineage_of
from gatehouse.pipeline.trace import TRACE_HEADERS, TraceContext, trace_context
from gatehouse.routing.bodies import body_plan, is_upload
from gatehouse.routing.jobs import job_of
from gatehouse.routing.paths import recorded_path

_TEXT_LIMIT = 200


class Facts:
    """Read from one head on one route."""

    __slots__ = (
        "body_plan", "coding", "host", "identity_lines", "job", "key_hash", "lineage", "lines", "method", "origin",
        "recorded_path", "route", "trace", "upload", "user_agent",
    )  # fmt: skip

    def __init__(self, head: Head, route: Route, hashes: KeyHashes, filters: RequestHeaders) -> None:
        """Raises `GatehouseError`: 401 for a gateway key, 400 for a bad lineage header."""
        self.route = route
        self.method = head.method.decode()
        self.recorded_path = recorded_path(head.path, head.query)
        refuse_gateway_keys(head.fields, head.headers, f"{head.path}?{head.query}")
        key = provider_key(head.fields, head.query)
        self.key_hash = hashes.of(key) if key is not None else None
        content_type = head.fields.get(b"content-type")
        self.body_plan = body_plan(route, head.method, content_type)
        self.upload = self.body_plan != "whole" and is_upload(route, head.method, content_type)
        coding = head.fields.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        self.coding = "" if coding == "identity" else coding
        """The body's Content-Encoding; empty if it is not encoded."""
        self.user_agent = text(head.fields.get(b"user-agent"))
        self.lineage = lineage_of(head)
        self.job = job_of(route)
        """The provider's id of what the path names: a batch, a file, a fine-tuning."""
        self.trace: TraceContext | None = trace_context(head)
        kept = filters.upstream(head.headers)
        if not TRACE_HEADERS.isdisjoint(head.fields):
            kept = [pair for pair in kept if pair[0].lower() not in TRACE_HEADERS]
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
