"""What a request's head says to the pipeline, read once per connection: SDKs repeat their heads, all but the length.

Rules: only what follows from the head, its route and the snapshot, nothing of the body or of the moment. What the head
itself refuses (no credential, a bad lineage header) is raised here; what its way to a provider refuses, by `Way`. What
was refused is not kept.
"""

from __future__ import annotations

from typing import Final

from gatehouse.auth.access import Access, Grant
from gatehouse.auth.credentials import KeyHashes
from gatehouse.auth.keys import resembles
from gatehouse.auth.positions import Positions, found
from gatehouse.http.headers import RequestHeaders
from gatehouse.http.message import Head
from gatehouse.model.call import ANYBODY, Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.pipeline.lineage import lineage_of
from gatehouse.pipeline.trace import TraceContext, trace_context
from gatehouse.pipeline.way import Way
from gatehouse.routing.bodies import body_plan, is_upload, names_model
from gatehouse.routing.jobs import job_of
from gatehouse.routing.paths import recorded_path

_TEXT_LIMIT: Final = 200
_HIDDEN: Final = "***"


class Heads:
    """Reads heads, for one worker."""

    __slots__ = ("_filters", "_hashes")

    def __init__(self, hashes: KeyHashes) -> None:
        self._hashes = hashes
        self._filters = RequestHeaders()

    def facts(self, head: Head, route: Route, access: Access | None, now: float) -> Facts:
        """From what is known of the connection's last head, if this one repeats it, under the same snapshot.

        `access`: whom accounts let in; `None`: there are none. `now`: Unix seconds. Raises `GatehouseError`.
        """
        known = head.kin.facts
        if isinstance(known, Facts) and known.route is route and known.access is access:
            return known
        made = Facts(head, route, access, now, self._hashes)
        head.kin.facts = made
        return made

    def way(self, facts: Facts, head: Head, route: Route, entry: ProviderEntry) -> Way:
        """How a head with these facts goes to a provider. Raises `GatehouseError`."""
        known = facts.ways.get(route.provider)
        if known is not None:
            return known
        made = facts.ways[route.provider] = Way(route, entry, facts.positions, facts.grant, head, self._filters)
        return made


class Facts:
    """Read from one head on one route."""

    __slots__ = (
        "access", "body_plan", "coding", "form", "grant", "job", "key_hash", "lineage", "method", "positions",
        "principal", "recorded_path", "route", "trace", "upload", "user_agent", "ways",
    )  # fmt: skip

    def __init__(self, head: Head, route: Route, access: Access | None, now: float, hashes: KeyHashes) -> None:
        """Raises `GatehouseError`: 401 or 403 for a caller nobody knows or who is refused, 400 for a bad lineage
        header."""
        self.route = route
        self.access = access
        self.method = head.method.decode()
        self.recorded_path = recorded_path(head.path, head.query)
        self.ways: dict[str, Way] = {}
        """By provider: a transparent route has one."""
        self.positions: Positions = (found if access is None else access.found)(head.headers, head.path, head.query)
        self.key_hash = hashes.of(self.positions.provider[0]) if self.positions.provider else None
        self.grant: Grant | None = None
        self.principal = ANYBODY
        if access is None:
            self.positions.refuse_gateway_keys()
        else:
            self.positions.check_path()
            self.grant = access.grant(self.positions, route.project, now)
            self.principal = self.grant.principal
        content_type = head.fields.get(b"content-type")
        self.body_plan = body_plan(route, head.method, content_type)
        self.form: bytes | None = None
        """Content type of a form whose model matters: to whom the provider follows from it, or who may not ask for
        every one."""
        choosy = self.grant is not None and (route.surface == "unified" or not self.grant.any_model)
        if choosy and names_model(route, head.method, content_type):
            self.form, self.body_plan = content_type, "whole"
        self.upload = self.body_plan != "whole" and is_upload(route, head.method, content_type)
        coding = head.fields.get(b"content-encoding", b"").strip().lower().decode("latin-1")
        self.coding = "" if coding == "identity" else coding
        """The body's Content-Encoding; empty if it is not encoded."""
        self.user_agent = text(head.fields.get(b"user-agent"))
        self.lineage = lineage_of(head)
        self.job = job_of(route)
        """The provider's id of what the path names: a batch, a file, a fine-tuning."""
        self.trace: TraceContext | None = trace_context(head)


def text(value: bytes | None) -> str | None:
    """A header's value for the record; of one that holds something like a gateway key, nothing."""
    if not value:
        return None
    return _HIDDEN if resembles(value) else value[:_TEXT_LIMIT].decode("latin-1")
