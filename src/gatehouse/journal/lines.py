"""How a journal line is built: header, hash, salt, body; and the state of a lane's hash chains. Pure: no I/O.

A line, as written:

    {"header":{…},"hash":"<64 hex>","salt":"<32 hex>","body":{…}}

`hash` is SHA-256 of the header's bytes as written; the next line's `prev` repeats it. `body_digest` in the header is
SHA-256 of the salt's 32 characters followed by the body's bytes as written. A line whose body was erased ends after
`hash`. Inside a JSON string quotes are escaped, so `,"hash":"` occurs exactly once before the body.

Rules: a batch moves the chain only provisionally; what did not reach the file is taken back (`Chain.rollback`).
This is the hot path: two lines per call. Measure before changing it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import uuid
from collections.abc import Sequence
from typing import Final

import msgspec

from gatehouse.journal.records import Kept
from gatehouse.model.record import RECORD_VERSION, Decision, Outcome, Refusal
from gatehouse.ports import Written

ZERO: Final = "0" * 64
"""`prev` of a lane's first line and `tenant_prev` of a tenant's first line in a lane."""

MAX_WRITE: Final = 256 * 1024
"""Largest write(2) in bytes, and so the largest line: bigger ones can be torn by SIGKILL."""

LINE_OVERHEAD: Final = 640
"""Bytes of a line beside its body and its tenant's name, rounded up."""

MAX_BODY: Final = MAX_WRITE - 8192
"""Largest body in bytes. The rest is room for the header, whose tenant is a configured name."""

_SALT: Final = 32
_SALT_BLOCK: Final = 256 * _SALT
_SECOND: Final = 1_000_000_000
"""Nanoseconds."""
_sha256: Final = hashlib.sha256


class JournalError(Exception):
    """The journal on disk is not what it must be, or could not be written. The text names file and line."""


class Entry:
    """A line that waits to be written. Immutable."""

    __slots__ = ("body", "kind", "record", "tenant", "time", "written")

    def __init__(
        self,
        kind: bytes,
        tenant: str,
        body: bytes,
        time: int,
        record: Decision | Outcome | Refusal | None = None,
        written: Written | None = None,
    ) -> None:
        self.kind = kind
        self.tenant = tenant
        """Empty for the journal's own lines."""
        self.body = body
        self.time = time
        """Nanoseconds since the epoch."""
        self.record = record
        """The call's record, where its fate matters after the write."""
        self.written = written


_Head = tuple[bytes, int, bytes]
"""A tenant's name as JSON, and the sequence number and hash of its last line."""


class Chain:
    """The chains of one lane: its own, and one per tenant."""

    def __init__(self, lane: str) -> None:
        self.lane = lane
        self.seq = 0
        self._head = ZERO.encode()
        self._tenants: dict[str, _Head] = {}
        self._saved: tuple[int, bytes, dict[str, _Head]] = (0, self._head, {})
        self._begin = b'{"v":%d,"lane":"%b"' % (RECORD_VERSION, lane.encode())
        self._salts = b""
        self._salt_at = 0
        self._second = -1
        self._stamp = b""

    @property
    def head(self) -> str:
        """Hash of the last line, in hex."""
        return self._head.decode()

    def extend(self, entries: Sequence[Entry]) -> bytes:
        """Encode a batch, each line with its newline, and move the chain past it until `rollback` says otherwise."""
        seq, prev, tenants = self.seq, self._head, self._tenants
        salts, at, second, stamp = self._salts, self._salt_at, self._second, self._stamp
        touched: dict[str, _Head] = {}
        self._saved = (seq, prev, touched)
        begin, lines = self._begin, list[bytes]()
        last: str | None = None
        name, tenant_seq, tenant_prev = b"", 0, b""
        for entry in entries:
            tenant, body = entry.tenant, entry.body
            if tenant != last:  # most lines of a batch are one tenant's
                if last is not None:
                    tenants[last] = (name, tenant_seq, tenant_prev)
                last = tenant
                state = tenants.get(tenant)
                if state is None:
                    state = (msgspec.json.encode(tenant), 0, ZERO.encode())
                if tenant not in touched:
                    touched[tenant] = state
                name, tenant_seq, tenant_prev = state
            if at == len(salts):
                salts, at = os.urandom(_SALT_BLOCK // 2).hex().encode(), 0
            salt = salts[at : at + _SALT]
            at += _SALT
            now = entry.time // _SECOND
            if now != second:
                second = now
                stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(now)).encode()
            micros = b"%d" % (1_000_000 + entry.time % _SECOND // 1000)
            digest = _sha256(salt + body).hexdigest().encode()
            seq += 1
            tenant_seq += 1
            # Literal formats, of plain bytes and integers: those are compiled, others are interpreted at every line.
            header = (
                b'%b,"seq":%d,"prev":"%b","tenant":%b,"tenant_seq":%d,"tenant_prev":"%b",'
                b'"time":"%b%bZ","kind":"%b","body_digest":"%b"}'
                % (begin, seq, prev, name, tenant_seq, tenant_prev, stamp, micros[1:], entry.kind, digest)
            )
            prev = tenant_prev = _sha256(header).hexdigest().encode()
            lines.append(b'{"header":%b,"hash":"%b","salt":"%b","body":%b}\n' % (header, prev, salt, body))
        if last is not None:
            tenants[last] = (name, tenant_seq, tenant_prev)
        self.seq, self._head = seq, prev
        self._salts, self._salt_at, self._second, self._stamp = salts, at, second, stamp
        return b"".join(lines)

    def rollback(self, kept: bytes) -> int:
        """Only these first lines of the last batch are on disk: the chain stands behind them. Returns how many."""
        self.seq, self._head, touched = self._saved
        self._tenants.update(touched)
        lines = kept.split(b"\n")[:-1]
        for line in lines:
            read = msgspec.json.decode(line, type=Kept)
            name = self._tenants[read.header.tenant][0]
            self.seq, self._head = read.header.seq, read.hash.encode()
            self._tenants[read.header.tenant] = (name, read.header.tenant_seq, self._head)
        return len(lines)


def lane_id() -> str:
    """A new UUIDv7: sorts by time of creation."""
    value = (time.time_ns() // 1_000_000) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
