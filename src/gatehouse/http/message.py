"""What a strict HTTP/1.1 peer may send: the checks that llhttp leaves to us.

llhttp refuses Content-Length beside Transfer-Encoding, repeated or malformed lengths, bare CR and LF, obs-fold, control
characters in headers and bad chunk sizes. It lets through what this module refuses: HTTP/0.9 and 2.0, other transfer
codings, a missing or second Host, targets that are not in origin form, odd methods, absurd lengths. Pure functions over
one parsed head; the first fault found is raised as a `GatehouseError`.
"""

from __future__ import annotations

import re
from typing import Final

from gatehouse import errors
from gatehouse.errors import GatehouseError

Headers = list[tuple[bytes, bytes]]
"""Names and values as received, in order."""

METHODS: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))

_TARGET: Final = re.compile(rb"/[!-~]*")
_FORBIDDEN_IN_TARGET: Final = re.compile(rb"[#\\]")
_ABSOLUTE: Final = re.compile(rb"https?://([!-.0-~]+)(/[!-~]*)?", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\d{1,15}")
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"host", b"expect", b"upgrade"))


def _bad(detail: str) -> GatehouseError:
    return GatehouseError(errors.BAD_REQUEST, detail)


class Head:
    """A checked request head."""

    __slots__ = (
        "chunked",
        "expects_continue",
        "fields",
        "headers",
        "host",
        "length",
        "method",
        "minor",
        "path",
        "query",
        "upgrade",
    )

    def __init__(self, method: bytes, target: bytes, version: str, headers: Headers) -> None:
        """Raises `GatehouseError` (400) naming what is wrong."""
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
        self.length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.upgrade: bytes | None = None
        self.host = b""
        self.fields: dict[bytes, bytes] = {}
        """Values by lower-case name; of a repeated header, the last."""
        for name, value in headers:
            lower = name.lower()
            self.fields[lower] = value
            if lower in _FRAMING:
                self._read_framing(lower, value)
        if not self.host:
            raise _bad("no Host header")
        self._read_target(target)

    def _read_framing(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            if self.host:
                raise _bad("more than one Host header")
            self.host = value
        elif name == b"content-length":
            self._read_length(value)
        elif name == b"transfer-encoding":
            self._read_transfer_encoding(value)
        elif name == b"upgrade":
            self.upgrade = value.lower()
        elif value.lower() != b"100-continue":
            raise _bad("Expect is not `100-continue`")
        else:
            self.expects_continue = True

    def _read_length(self, value: bytes) -> None:
        if self.length is not None or self.chunked:
            raise _bad("ambiguous body length: repeated Content-Length, or one beside Transfer-Encoding")
        if not _LENGTH.fullmatch(value):
            raise _bad("Content-Length is not a plain decimal number")
        self.length = int(value)

    def _read_transfer_encoding(self, value: bytes) -> None:
        if self.chunked or self.length is not None:
            raise _bad("ambiguous body length: repeated Transfer-Encoding, or one beside Content-Length")
        if self.minor == 0:
            raise _bad("Transfer-Encoding in HTTP/1.0")
        if value.lower() != b"chunked":
            raise _bad("Transfer-Encoding is not exactly `chunked`")
        self.chunked = True

    def _read_target(self, target: bytes) -> None:
        if not target.startswith(b"/"):
            match = _ABSOLUTE.fullmatch(target)
            if match is None or match[1].lower() != self.host.lower():
                raise _bad("request target is neither a path nor an address of this host")
            target = match[2] or b"/"
        if not _TARGET.fullmatch(target) or _FORBIDDEN_IN_TARGET.search(target):
            raise _bad("request target contains a character that must be percent-encoded")
        path, _, query = target.decode("ascii").partition("?")
        self.path = path
        """As received, still percent-encoded."""
        self.query = query


def check_response(version: str, headers: Headers) -> tuple[int | None, bool]:
    """Framing of an upstream's answer: (Content-Length or None, chunked?). Raises `ValueError` on anything odd."""
    if version not in ("1.1", "1.0"):
        raise ValueError(f"HTTP version {version}")
    length: int | None = None
    chunked = False
    for name, value in headers:
        lower = name.lower()
        if lower == b"content-length":
            if length is not None or not _LENGTH.fullmatch(value):
                raise ValueError("odd Content-Length")
            length = int(value)
        elif lower == b"transfer-encoding":
            if chunked or value.lower() != b"chunked" or version == "1.0":
                raise ValueError("odd Transfer-Encoding")
            chunked = True
    if chunked and length is not None:
        raise ValueError("Content-Length beside Transfer-Encoding")
    return length, chunked
