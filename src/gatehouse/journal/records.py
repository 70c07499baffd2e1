"""What a line's header and the bodies of the journal's own lines hold. Bodies of calls are `model.record`.

Rules: a body holds ids, counts and hashes; a new or changed field changes `RECORD_VERSION` and `docs/journal.md`
(a test compares the two).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from gatehouse.model.limits import Reserved
from gatehouse.model.record import Capture, Decision, Outcome, Refusal, RefusedMany

OPEN_CALLS_PER_LINE: Final = 1000
"""More open calls than this at a rotation are spread over several `segment` lines (a line is at most 256 KiB)."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The chained part of a line. Field by field in `docs/journal.md`."""

    v: int
    lane: str
    seq: int
    prev: str
    tenant: str
    tenant_seq: int
    tenant_prev: str
    time: str
    kind: str
    body_digest: str


class CallHead(msgspec.Struct, frozen=True):
    """What every body about a call has."""

    call: str
    project: str
    reserved: tuple[Reserved, ...] = ()


class Kept(msgspec.Struct):
    """What of a line tells where the chains stand."""

    header: Header
    hash: str


class OpenCall(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that was decided and has no outcome yet."""

    call: str
    tenant: str
    project: str
    reserved: tuple[Reserved, ...] = ()
    """As in its decision: nobody else knows when it ends without its process."""


class LaneOpened(msgspec.Struct, frozen=True, omit_defaults=True):
    """First line of every lane; repeated in the control process's own lane for each lane it meets."""

    lane: str
    """The lane that was opened: differs from the header's `lane` where control says it of another."""
    role: str
    """What the process is: `worker` or `control`."""
    pid: int
    version: str
    """Gatehouse's version."""
    durability: str
    """`journal.durability` at the time."""
    first: str | None = None
    """Hash of that lane's first line; only where the line stands in another lane."""


class SegmentOpened(msgspec.Struct, frozen=True, omit_defaults=True):
    """First line (or lines) of every later segment of a lane: recovery reads from here."""

    role: str
    previous: str
    """File name of the segment before, without `.gz`."""
    hash: str
    """Hash of the last line of the segment before."""
    torn: bool = False
    """The segment before ends in half a line that could not be cut off; it does not count."""
    part: int = 1
    parts: int = 1
    """How many lines list the open calls; `part` counts them from 1."""
    open: tuple[OpenCall, ...] = ()


class LaneClosed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Last line of a lane that ended in order; and control's word, in its own lane, on how any other lane ended."""

    lane: str
    seq: int
    """Last line of that lane before this line was written."""
    hash: str
    """Its hash."""
    clean: bool
    """The lane was closed by its own process."""
    interrupted: int = 0
    """Calls that were still open, each given an outcome `interrupted` beside this line."""
    torn_bytes: int = 0
    """Bytes of half a line at the lane's end, set aside in a `.torn` file."""


class SegmentDeleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tombstone, written before a segment is deleted by retention."""

    lane: str
    file: str
    first_seq: int
    last_seq: int
    last_hash: str
    bytes: int
    """Size of the file as deleted."""
    rule: Literal["keep_days", "max_bytes"]


class Admin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of the administrative state, or a log-in. Ids, numbers and flags: no name, no secret."""

    id: str
    """Of the event; a line that is there twice has the same one."""
    at: str
    actor_kind: Literal["user", "key", "token", "operator", "system"]
    """`operator`: whoever may read the data directory."""
    action: str
    """`key.create`, `auth.login` …"""
    target_kind: str
    target: str
    actor: str | None = None
    details: dict[str, msgspec.Raw] = {}


BODIES: Final[dict[str, type[msgspec.Struct]]] = {
    "lane_opened": LaneOpened,
    "segment": SegmentOpened,
    "decision": Decision,
    "outcome": Outcome,
    "call": Refusal,
    "refused_many": RefusedMany,
    "capture": Capture,
    "lane_closed": LaneClosed,
    "segment_deleted": SegmentDeleted,
    "admin": Admin,
}
"""Every kind of line and the type of its body."""
