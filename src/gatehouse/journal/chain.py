"""How a journal line is read and checked: the other end of `lines`. Pure: no I/O.

Rules: every check names what is wrong; its caller adds file and line. A reader may begin anywhere in a lane; what came
before is then taken from the first line's word.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from gatehouse.journal.lines import ZERO, JournalError
from gatehouse.journal.records import Header
from gatehouse.model.record import RECORD_VERSION

Body = TypeVar("Body")

_START: Final = b'{"header":'
_HASH: Final = b',"hash":"'
_SALT: Final = b'","salt":"'
_BODY: Final = b'","body":'
_END: Final = b'"}'
_HASH_AT: Final = len(_HASH)
_SALT_AT: Final = _HASH_AT + 64
_SALT_TEXT: Final = _SALT_AT + len(_SALT)
_BODY_AT: Final = _SALT_TEXT + 32
_BODY_TEXT: Final = _BODY_AT + len(_BODY)


class Checked(msgspec.Struct, frozen=True, gc=False):
    """A line that is what it says."""

    header: Header
    hash: str
    body: bytes | None
    """`None`: erased."""


_decode = msgspec.json.Decoder(Header).decode


def read_line(line: bytes) -> Checked:
    """Take a line without its newline apart and check it by itself. Raises `JournalError`."""
    cut = line.find(_HASH)
    if cut < 0 or not line.startswith(_START):
        raise JournalError("not a journal line")
    written = line[len(_START) : cut]
    claimed = line[cut + _HASH_AT : cut + _SALT_AT]
    digest = sha256(written).hexdigest()
    if digest.encode() != claimed:
        raise JournalError("the header does not match its hash")
    try:
        header = _decode(written)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(f"the header cannot be read: {error}") from error
    if header.v != RECORD_VERSION:
        raise JournalError(f"version {header.v}; this release reads {RECORD_VERSION}")
    if line[cut + _SALT_AT :] == _END:
        return Checked(header, digest, None)
    if (
        line[cut + _SALT_AT : cut + _SALT_TEXT] != _SALT
        or line[cut + _BODY_AT : cut + _BODY_TEXT] != _BODY
        or not line.endswith(b"}")
    ):
        raise JournalError("salt and body do not stand where they must")
    body = line[cut + _BODY_TEXT : -1]
    if sha256(line[cut + _SALT_TEXT : cut + _BODY_AT] + body).hexdigest() != header.body_digest:
        raise JournalError("the body does not match its digest")
    return Checked(header, digest, body)


class LaneCheck:
    """Follows the chains of one lane, line by line."""

    def __init__(self, lane: str | None) -> None:
        """`lane`: the id every line must carry; `None`: that of the first line."""
        self.lane = lane
        self.seq = 0
        self.head = ZERO
        self._started = False
        self._gap = False
        self._tenants: dict[str, tuple[int, str]] = {}
        self._from_start = True

    def allow_gap(self) -> None:
        """Lines may be missing here: the next line's word is then taken for what came before it."""
        self._gap = True

    def accept(self, line: bytes) -> Checked:
        """The lane's next line, without newline. Raises `JournalError`; the check then stands where it stood."""
        checked = read_line(line)
        header = checked.header
        if header.lane != (self.lane or header.lane):
            raise JournalError(f"a line of lane {header.lane}")
        if header.seq == 1 and header.prev != ZERO:
            raise JournalError("the first line of a lane follows from nothing")
        if not self._started:
            self._from_start = header.seq == 1
        elif self._gap and header.seq > self.seq + 1:
            self._tenants.clear()
            self._from_start = False
        elif header.seq != self.seq + 1:
            raise JournalError(f"line {header.seq} of the lane stands where line {self.seq + 1} belongs")
        elif header.prev != self.head:
            raise JournalError("does not follow from the line before")
        self._check_tenant(header)
        self._tenants[header.tenant] = (header.tenant_seq, checked.hash)
        self.lane, self.seq, self.head = header.lane, header.seq, checked.hash
        self._started, self._gap = True, False
        return checked

    def _check_tenant(self, header: Header) -> None:
        known = self._tenants.get(header.tenant)
        if known is None:
            # Where the lane is read from its start, so is every tenant's chain.
            if not self._from_start and header.tenant_seq > 1:
                return
            known = (0, ZERO)
        if header.tenant_seq != known[0] + 1:
            raise JournalError(f"line {header.tenant_seq} of the tenant stands where line {known[0] + 1} belongs")
        if header.tenant_prev != known[1]:
            raise JournalError("does not follow from the tenant's line before")


def decode_body(body: bytes, kind: type[Body]) -> Body:
    """A line's body. Raises `JournalError`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise JournalError(f"the body cannot be read: {error}") from error
