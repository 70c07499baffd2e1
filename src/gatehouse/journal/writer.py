"""The journal's port for one process: which records become which lines, and what their callers are told.

Rules: a decision is told once, when it is durable or cannot be. A call gets exactly one outcome, and an outcome is
never lost while the process lives (`commit` keeps it until it is written; what dies with the process, recovery
writes). A refusal that finds no room is counted, and told in one line when there is room. How lines reach the disk is
`commit`'s concern. Runs on the event loop's thread only; nothing here awaits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from gatehouse import errors
from gatehouse.config import settings
from gatehouse.errors import GatehouseError
from gatehouse.journal.calls import Calls
from gatehouse.journal.commit import CALL, CAPTURE, DECISION, OUTCOME, Counters, GroupCommit, State
from gatehouse.journal.files import Files, SystemFiles
from gatehouse.journal.fit import fit
from gatehouse.journal.lane import Lane
from gatehouse.journal.lines import LINE_OVERHEAD, MAX_BODY, Entry, JournalError
from gatehouse.journal.records import OpenCall
from gatehouse.journal.refusals import FloodGate
from gatehouse.journal.shares import Shares
from gatehouse.model.limits import Settled
from gatehouse.model.record import Capture, Decision, Outcome, Refusal
from gatehouse.ports import Written

MAX_OWN_LINES: Final = 10_000
"""The journal's own lines that may wait for a disk that does not take them."""

DOUBT_SECONDS: Final = 1.0
"""How long a caller may take to refuse a call whose decision could not be made durable, before it is done for it."""

_BODY_BYTES: Final = 1024
"""What a call's body mostly has, rounded up."""

_SHARE_FILLED: Final = (
    "what this tenant's calls left in the journal and the store has not yet fills its share (journal.tenant_share)"
)

_encode: Final = msgspec.json.Encoder().encode
_encode_into: Final = msgspec.json.Encoder().encode_into
_clock: Final = time.time_ns
_log: Final = logging.getLogger(__name__)


class JournalWriter:
    """`ports.Journal` over one lane, and what the owner of the lane needs beside it."""

    def __init__(
        self,
        directory: Path,
        role: str,
        options: settings.Journal,
        loop: asyncio.AbstractEventLoop,
        files: Files | None = None,
    ) -> None:
        """`role`: `worker` or `control`. `files`: the disk, unless it is the system's."""
        self._loop = loop
        self._files = files or SystemFiles()
        self._lane = Lane(directory, role, options, self._files)
        self._commit = GroupCommit(directory, self._lane, options, loop, self)
        self._calls = Calls()
        self._flood = FloodGate()
        self.shares = Shares()
        """What tenants have written here that is not collected."""
        self._buffer = bytearray(_BODY_BYTES)
        """Bodies are encoded into it: to let one grow for each takes a fifth longer."""
        self._own = 0
        self._running = False

    # -- the owner's side

    def open(self) -> None:
        """Create the lane with its first line. Raises `OSError` where the directory cannot be written."""
        self._commit.open(self._files)
        self._running = True

    def sweep(self) -> None:
        """Every half second or so: rotation by age, summaries of refusals, retries, the journal's size."""
        if not self._running:
            return
        now = time.monotonic()
        self._commit.sweep(now, len(self._calls))
        self._refuse_doubted(now - DOUBT_SECONDS)
        if self.state == "ok":
            self._summarise(everything=False)
        if not self._commit.waiting:
            self.shares.mark(self._lane.chain.seq)

    def flush(self) -> None:
        """Write what waits and make it durable before returning. Raises `JournalError` if that cannot be done."""
        error = self._commit.flush()
        if error is not None or self._commit.waiting:
            why = error.strerror if error is not None else self.reason
            raise JournalError(f"{self._lane.segment.path}: {self._commit.waiting} lines wait: {why}")

    def close(self) -> None:
        """Write what waits and the lane's last line, and let the lane go. What could not be written is logged."""
        if not self._running:
            return
        self._refuse_doubted(time.monotonic())
        self._summarise(everything=True)
        self._running = False
        error = self._commit.close()
        if error is not None or self._commit.waiting:
            why = error or self.reason
            _log.error("journal %s: closed with %d lines not written: %s", self._lane.path, self._commit.waiting, why)

    def append(self, kind: str, body: msgspec.Struct, tenant: str = "", *, written: Written | None = None) -> None:
        """Append a line of the journal's own, or an outcome for a call of another lane; it is kept until written.

        `written` is told as for a decision. Raises `JournalError` when too many lines wait already.
        """
        if self._own >= MAX_OWN_LINES:
            raise JournalError(f"{self._lane.path}: {self._own} lines of the journal's own wait for the disk")
        self._own += 1
        self._commit.put(Entry(kind.encode(), tenant, _encode(body), _clock(), None, written))

    @property
    def lane(self) -> str:
        """Id of this process's lane."""
        return self._lane.id

    @property
    def head(self) -> tuple[int, str]:
        """Sequence number and hash of the last line in the file."""
        return self._lane.chain.seq, self._lane.chain.head

    @property
    def state(self) -> State:
        """`full`: no room (`journal.max_bytes`, or the disk). `failing`: the disk refuses. Both: no new calls."""
        return self._commit.state

    @property
    def reason(self) -> str | None:
        """Why new calls are refused, unless `ok`."""
        return self._commit.error.detail if self._commit.error else None

    @property
    def lost(self) -> bool:
        """The lane was taken away: nothing more will ever be written to it. Another process would begin a new one."""
        return self._commit.lost

    @property
    def counters(self) -> Counters:
        """What has been done since `open`."""
        return self._commit.counters

    @property
    def total_bytes(self) -> int:
        """Size of the whole journal, a few seconds old."""
        return self._commit.total

    @property
    def waiting(self) -> int:
        """Lines not written yet."""
        return self._commit.waiting

    @property
    def open_calls(self) -> int:
        """Calls decided here whose outcome is not on disk."""
        return len(self._calls)

    # -- ports.Journal

    def decide(self, tenant: str, decision: Decision, written: Written) -> None:
        """See the port. After an error the caller refuses the call as any other (`refuse`)."""
        error = self._commit.error
        if error is None and not self._running:
            error = GatehouseError(errors.OVERLOADED, "the gateway is shutting down")
        if error is None and self.shares.most and self.shares.over(tenant):
            error = GatehouseError(errors.JOURNAL_FULL, _SHARE_FILLED, retry_after=5)
        if error is not None:
            self.counters.decisions_failed += 1
            written(error)
            return
        try:
            body = self._encoded(decision)
        except (UnicodeEncodeError, OverflowError) as failed:
            written(GatehouseError(errors.BAD_REQUEST, f"this call cannot be put on record: {failed}"))
            return
        if len(body) > MAX_BODY:
            detail = f"the record of this call would have {len(body)} bytes; {MAX_BODY} can be kept"
            written(GatehouseError(errors.BAD_REQUEST, detail))
            return
        self._calls.decide(tenant, decision)
        self._put(Entry(DECISION, tenant, body, _clock(), decision, written))

    def conclude(self, tenant: str, outcome: Outcome) -> None:
        """See the port. A second outcome for a call, or one without decision, is logged and not written."""
        if not self._calls.conclude(outcome.call):
            self.counters.stray_outcomes += 1
            _log.error("journal: outcome %s for call %s, which is not open", outcome.outcome, outcome.call)
            return
        self._put(Entry(OUTCOME, tenant, self._encoded_kept(outcome), _clock(), outcome))

    def refuse(self, tenant: str, refusal: Refusal, *, authenticated: bool) -> None:
        """See the port. For a call whose decision stands but could not be made durable this is its outcome."""
        if self._calls.doubted(refusal.call):
            self.conclude(tenant, _outcome(refusal))
            return
        now = _clock()
        filled = self.shares.over(tenant)
        known = tenant if authenticated else None
        if self.state != "ok" or filled or not self._flood.passes(refusal, now, known):
            self._count(tenant, refusal)
            return
        self._put(Entry(CALL, tenant, self._encoded_kept(refusal), now, refusal))

    def capture(self, tenant: str, parts: Sequence[Capture]) -> None:
        """See the port. Dropped and counted while the journal has no room. A part's line is at most 256 KiB."""
        if self.state != "ok" or self.shares.over(tenant):
            self.counters.captures_dropped += len(parts)
            return
        now = _clock()
        for part in parts:
            body = _encode(part)
            if len(body) > MAX_BODY:
                raise ValueError(f"a captured part of {len(part.data)} characters makes a line longer than {MAX_BODY}")
            self._put(Entry(CAPTURE, tenant, body, now))

    def _encoded(self, record: Decision | Outcome | Refusal) -> bytes:
        buffer = self._buffer
        _encode_into(record, buffer)
        return b"".join((buffer,))  # which takes half of what `bytes` does

    def _encoded_kept(self, record: Outcome | Refusal) -> bytes:
        """The record's body, whatever is in it."""
        try:
            body = self._encoded(record)
        except (UnicodeEncodeError, OverflowError):
            return _encode(fit(record))
        return body if len(body) <= MAX_BODY else _encode(fit(record))

    def _put(self, entry: Entry) -> None:
        """Queue a line about a call."""
        if self.shares.most:
            self.shares.count(entry.tenant, len(entry.body) + LINE_OVERHEAD)
        self._commit.put(entry)

    # -- what `commit` tells

    def landed(self, entries: Sequence[Entry], *, durable: bool) -> None:
        told: deque[Written] = deque()
        for entry in entries:
            if entry.kind is OUTCOME and entry.record is not None:
                self._calls.concluded(entry.record.call)
            elif entry.written is not None:
                told.append(entry.written)
            if entry.record is None and entry.kind is not CAPTURE:
                self._own -= 1
        if durable:
            self._tell(told, None)

    def synced(self, entries: Sequence[Entry], error: GatehouseError | None) -> None:
        if error is not None:
            now = time.monotonic()
            self.counters.decisions_failed += len(entries)
            for entry in entries:
                if entry.record is not None:
                    self._calls.doubt(entry.record.call, now)
        self._tell(deque(entry.written for entry in entries if entry.written is not None), error)

    def dropped(self, entries: Sequence[Entry], error: GatehouseError) -> None:
        told: deque[Written] = deque()
        for entry in entries:
            if isinstance(entry.record, Decision):
                self.counters.decisions_failed += 1
                self._calls.undecide(entry.record.call)
            elif isinstance(entry.record, Refusal):
                self._count(entry.tenant, entry.record)
            elif entry.kind is CAPTURE:
                self.counters.captures_dropped += 1
            if entry.written is not None:
                told.append(entry.written)
        self._tell(told, error)

    def still_open(self, undecided: set[str]) -> list[OpenCall]:
        return self._calls.still_open(undecided)

    def _tell(self, told: deque[Written], error: GatehouseError | None) -> None:
        try:
            while told:
                told.popleft()(error)
        finally:
            if told:  # One callback raised: the others must not wait for ever.
                self._loop.call_soon(self._tell, told, error)

    # -- refusals

    def _count(self, tenant: str, refusal: Refusal) -> None:
        self.counters.refusals_counted += 1
        self._flood.count(tenant, refusal, _clock())

    def _summarise(self, *, everything: bool) -> None:
        for tenant, summary in self._flood.due(_clock(), everything=everything):
            self.append("refused_many", summary, tenant)

    def _refuse_doubted(self, before: float) -> None:
        for call in self._calls.doubted_since(before):
            reason = "the decision could not be made durable"
            unused = tuple(Settled(held.counter, held.period, held.amount, 0) for held in call.reserved)
            outcome = Outcome(
                call.call, call.project, "refused", code=errors.OVERLOADED.code, reason=reason, settled=unused
            )
            self.conclude(call.tenant, outcome)


def _outcome(refusal: Refusal) -> Outcome:
    return Outcome(
        refusal.call,
        refusal.project,
        refusal.outcome,
        status=refusal.status,
        code=refusal.code,
        reason=refusal.reason,
        duration_us=refusal.duration_us,
    )
