"""What a strict HTTP/1.1 peer may send: the checks that llhttp leaves to us.

llhttp refuses Content-Length beside Transfer-Encoding, repeated or malformed lengths, bare CR and LF, obs-fold, control
characters in headers and bad chunk sizes. It lets through what this module refuses: HTTP/0.9 and 2.0, other transfer
codings, a missing or second Host, targets that are not in origin form, odd methods, absurd lengths. Pure functions over
one parsed head; the first fault found is raised as a `GatehouseError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Protocol

from gatehouse import errors
from gatehouse.errors import GatehouseError

Headers = list[tuple[bytes, bytes]]
"""Names and values as received, in order."""

Fields = Mapping[bytes, bytes]
"""Values by lower-case name; of a repeated header, the last."""

METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))

_TARGET: Final = re.compile(rb'/[!"$-\[\]-~]*')
"""Printable ASCII without `#` and backslash."""
_ABSOLUTE: Final = re.compile(rb"https?://([!-.0-~]+)(/[!-~]*)?", re.IGNORECASE)
_LENGTH_DIGITS: Final = 15
_ONCE: Final = (b"host", b"content-length", b"transfer-encoding", b"expect", b"content-type", b"content-encoding")
"""Two readers of a repeated one may each take another: for where it goes, where it ends, what its body says."""
_PERSISTENCE: Final = frozenset((b"connection", b"proxy-connection"))
"""The headers that llhttp goes by, beside the version, in keeping a connection."""
_BLANKS: Final = b" \t"
"""llhttp leaves the blanks behind a value to us; they are no part of it (RFC 9112, 5.1)."""


def _bad(detail: str) -> GatehouseError:
    return GatehouseError(errors.BAD_REQUEST, detail)


class Kin:
    """What was derived from a head, kept for the next ones on its connection that repeat it (`Head.repeated`)."""

    __slots__ = ("admitted", "facts")

    def __init__(self) -> None:
        self.admitted = False
        """Whoever guards the door has let such a head pass, and would again."""
        self.facts: object = None
        """What the application read from it. Its own business, type included."""


class Head:
    """A checked request head. Immutable."""

    __slots__ = (
        "_length_at", "_target", "_version", "chunked", "expects_continue", "fields", "headers", "host", "kin",
        "length", "method", "minor", "path", "query", "upgrade",
    )  # fmt: skip

    path: str
    """As received, still percent-encoded."""
    query: str

    def __init__(self, method: bytes, target: bytes, version: str, headers: Headers, like: Head | None = None) -> None:
        """Raises `GatehouseError` (400) naming what is wrong. `like`: a head that says the same but for its length."""
        if like is not None:
            self._copy(like, headers)
            return
        if version == "1.1":
            self.minor = 1
        elif version == "1.0":
            self.minor = 0
        else:
            raise _bad(f"HTTP/{version} is not spoken here; use HTTP/1.1")
        if method not in METHODS:
            raise _bad(f"method {method.decode('ascii', 'replace')[:32]} is not supported")
        self.method = method
        self.headers = headers
        fields = {name.lower(): value for name, value in headers}
        self.fields: Fields = fields
        """Without Content-Length, which is `length`."""
        if len(fields) != len(headers):
            _refuse_repeated(headers)
        self.host = fields.get(b"host", b"").rstrip(_BLANKS)
        if not self.host:
            raise _bad("no Host header")
        self.length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.upgrade: bytes | None = None
        """Lower case; `None`: not asked for."""
        self._length_at = -1
        if b"content-length" in fields:
            self._length_at = list(fields).index(b"content-length") if len(fields) == len(headers) else -2
            self.length = _read_length(fields.pop(b"content-length"))
        if b"transfer-encoding" in fields:
            self.chunked = self._read_transfer_encoding(fields[b"transfer-encoding"])
        if b"expect" in fields:
            self.expects_continue = self._read_expect(fields[b"expect"])
        if b"upgrade" in fields:
            self.upgrade = fields[b"upgrade"].lower()
        self._version = version
        self._target = target
        self._read_target(target)
        self.kin = Kin()

    def repeated(self, method: bytes, target: bytes, version: str, headers: Headers) -> Head | None:
        """The head of a later request that says the same again, except perhaps for its length; `None` for any other.

        SDKs send the same head over and over on a connection; nothing of it has to be checked or derived twice.
        Raises `GatehouseError` for a length that is not a number.
        """
        if target != self._target or method != self.method or version != self._version:
            return None
        at = self._length_at
        mine = self.headers
        if at == -1:
            return self if headers == mine else None
        if at < 0 or len(headers) != len(mine):
            return None
        line, my_line = headers[at], mine[at]
        headers[at] = my_line
        same = headers == mine
        headers[at] = line
        if not same or line[0] != my_line[0]:
            return None
        if line[1] == my_line[1]:
            return self
        head = Head(method, target, version, headers, self)
        head.length = _read_length(line[1])
        return head

    def _copy(self, like: Head, headers: Headers) -> None:
        self.minor, self.method, self._target, self._version = like.minor, like.method, like._target, like._version
        self.fields, self.host, self.path, self.query = like.fields, like.host, like.path, like.query
        self.chunked, self.expects_continue, self.upgrade = like.chunked, like.expects_continue, like.upgrade
        self.kin, self._length_at, self.length, self.headers = like.kin, like._length_at, like.length, headers

    def _read_transfer_encoding(self, value: bytes) -> bool:
        if self.length is not None:
            raise _bad("ambiguous body length: Transfer-Encoding beside Content-Length")
        if self.minor == 0:
            raise _bad("Transfer-Encoding in HTTP/1.0")
        if value.lower() != b"chunked":
            raise _bad("Transfer-Encoding is not exactly `chunked`")
        return True

    def _read_expect(self, value: bytes) -> bool:
        if value.rstrip(_BLANKS).lower() != b"100-continue":
            raise _bad("Expect is not `100-continue`")
        return self.minor == 1  # in HTTP/1.0 it is to be ignored (RFC 9110, 10.1.1)

    def _read_target(self, target: bytes) -> None:
        if not target.startswith(b"/"):
            match = _ABSOLUTE.fullmatch(target)
            if match is None or match[1].lower() != self.host.lower():
                raise _bad("request target is neither a path nor an address of this host")
            target = match[2] or b"/"
        if not _TARGET.fullmatch(target):
            raise _bad("request target contains a character that must be percent-encoded")
        path, _, query = target.decode("ascii").partition("?")
        self.path = path
        self.query = query


def _refuse_repeated(headers: Headers) -> None:
    names = [name.lower() for name, _ in headers]
    for once in _ONCE:
        if names.count(once) > 1:
            raise _bad(f"more than one {once.decode().title()} header")


def _read_length(value: bytes) -> int:
    length = _length(value)
    if length is None:
        raise _bad("Content-Length is not a plain decimal number of up to 15 digits")
    return length


def _length(value: bytes) -> int | None:
    if not value.isdigit():
        value = value.rstrip(_BLANKS)
    return int(value) if len(value) <= _LENGTH_DIGITS and value.isdigit() else None


class Parsed(Protocol):
    """What llhttp has read (`httptools`)."""

    def get_http_version(self) -> str: ...

    def should_keep_alive(self) -> bool: ...


def spoken(parser: Parsed, headers: Headers) -> str:
    """The HTTP version of a head that was just read.

    llhttp keeps alive without a `Connection` header what is HTTP/1.1, and nothing else. To ask for the version is dear:
    it is formatted anew each time.
    """
    if not parser.should_keep_alive():
        return parser.get_http_version()
    for name, _ in headers:
        if len(name) in (10, 16) and name.lower() in _PERSISTENCE:  # the length first: most names are done with it
            return parser.get_http_version()
    return "1.1"


def check_response(version: str, headers: Headers) -> tuple[Fields, int | None, bool]:
    """An answer's (values by name, Content-Length or None, chunked?). Raises `ValueError` on any odd framing."""
    if version not in ("1.1", "1.0"):
        raise ValueError(f"HTTP version {version}")
    fields = {name.lower(): value for name, value in headers}
    if len(fields) != len(headers):
        names = [name.lower() for name, _ in headers]
        if names.count(b"content-length") > 1 or names.count(b"transfer-encoding") > 1:
            raise ValueError("repeated framing header")
    length = None
    if b"content-length" in fields:
        length = _length(fields[b"content-length"])
        if length is None:
            raise ValueError("odd Content-Length")
    chunked = b"transfer-encoding" in fields
    if chunked:
        if length is not None:
            raise ValueError("Content-Length beside Transfer-Encoding")
        if version == "1.0" or fields[b"transfer-encoding"].rstrip(_BLANKS).lower() != b"chunked":
            raise ValueError("odd Transfer-Encoding")
    return fields, length, chunked
