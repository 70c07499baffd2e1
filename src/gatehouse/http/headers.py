"""Which headers cross the gateway, in either direction.

Requests: everything goes upstream as it came, in order and spelling, except what belongs to this connection, to the
browser, to the client's address, or to the gateway. Answers: nothing comes down except what a list names; a provider's
answer must never act as a document of our origin, so every answer carries `nosniff` and a sandbox.

Rules
- Framing (`Content-Length`, `Transfer-Encoding`) and `Host` are never here: whoever writes the message sets them.
- A verdict depends on the name alone and is remembered per spelling, within a bound. The one exception is `Connection`,
  which names further headers to take out.
- Of a request, `Transfer_Encoding` and the like count as what they resemble: servers that turn names into variables
  (CGI and its heirs) cannot tell them apart, and would read a framing that is not ours.
- Credentials are not decided here (`auth.positions`).
- Names and values are bytes as received: `list[tuple[bytes, bytes]]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from gatehouse.http.message import Headers

_DROP: Final = 0
_KEEP: Final = 1
_CONNECTION: Final = 2
_ADDRESS: Final = 3

_REMEMBERED: Final = 1024
"""Spellings a filter remembers; more come only from somebody who invents names."""
_REMEMBERED_LENGTH: Final = 64

_READ_AS: Final = bytes([byte if byte < 128 and chr(byte).isalnum() else 45 for byte in bytes(range(256)).lower()])
"""Lower case; `-` for all but letters and digits."""

_PLAIN_CONNECTION: Final = frozenset((b"keep-alive", b"Keep-Alive", b"close", b""))

_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings content-length".split()
)
_PRIVATE: Final = _HOP | frozenset(
    b"host expect via cookie cookie2 origin referer forwarded forwarded-for x-forwarded x-original-forwarded-for "
    b"x-real-ip real-ip x-client-ip client-ip clientip x-remote-ip x-remote-addr x-originating-ip x-cluster-client-ip "
    b"true-client-ip fastly-client-ip fly-client-ip do-connecting-ip wl-proxy-client-ip x-proxyuser-ip "
    b"x-azure-clientip x-azure-socketip x-envoy-external-address x-appengine-user-ip x-appengine-remote-addr "
    b"x-nf-client-connection-ip x-vercel-ip cf-connecting-ip cf-connecting-ipv6 cf-pseudo-ipv4 cf-ipcountry cf-ray "
    b"cf-visitor cf-worker cf-ew-via cdn-loop x-host x-original-host x-original-url x-rewrite-url".split()
)
_BODYS: Final = frozenset((b"content-type", b"content-encoding"))
"""What a body is read by, here and upstream: once, and by their own names."""
_PRIVATE_PREFIXES: Final = (b"x-gatehouse-", b"x-ongoingai-", b"x-forwarded-", b"proxy-", b"sec-")

_ANSWERS: Final = frozenset(
    b"content-type content-encoding content-disposition content-language content-range content-digest accept-ranges "
    b"allow cache-control date deprecation etag expires last-modified retry-after sunset vary".split()
)
_ANSWER_ADDRESSES: Final = frozenset((b"location", b"content-location"))
_NEVER: Final = _HOP | frozenset(
    b"set-cookie set-cookie2 alt-svc clear-site-data service-worker-allowed link refresh content-security-policy "
    b"content-security-policy-report-only strict-transport-security x-content-type-options x-frame-options "
    b"www-authenticate proxy-authenticate sourcemap x-sourcemap report-to reporting-endpoints nel".split()
)
_NEVER_PREFIXES: Final = (b"access-control-", b"x-accel-", b"x-gatehouse-", b"x-sendfile")

ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
)
"""What every answer of a data-plane route carries."""

Rewrite = Callable[[bytes], bytes | None]
"""An address in an answer → the same behind our own route, or `None` to leave the header out."""


class _Verdicts:
    """Verdicts on names as received: judged once, and remembered while there is room."""

    __slots__ = ("_judge", "_known")

    def __init__(self, judge: Callable[[bytes], int]) -> None:
        self._judge = judge
        self._known: dict[bytes, int] = {}

    def on(self, name: bytes) -> int:
        verdict = self._known.get(name)
        if verdict is None:
            verdict = self._judge(name.lower())
            if len(self._known) < _REMEMBERED and len(name) <= _REMEMBERED_LENGTH:
                self._known[name] = verdict
        return verdict


class RequestHeaders:
    """Takes out of a request what must not go upstream."""

    __slots__ = ("_verdicts",)

    def __init__(self) -> None:
        self._verdicts = _Verdicts(_judge_request)

    def upstream(self, headers: Headers) -> Headers:
        """The headers that go upstream."""
        verdicts = self._verdicts
        kept: Headers = []
        named: set[bytes] = set()
        for pair in headers:
            verdict = verdicts.on(pair[0])
            if verdict == _KEEP:
                kept.append(pair)
            elif verdict == _CONNECTION and pair[1] not in _PLAIN_CONNECTION:
                named |= _tokens(pair[1]) - _BODYS
        return [pair for pair in kept if pair[0].lower() not in named] if named else kept


class AnswerHeaders:
    """Lets through of an answer what a list names: HTTP's own here, further ones by whoever knows the upstreams.

    `names`, `prefixes`, `suffixes`: lower case. `addresses`: names whose values are URLs of the upstream.
    """

    __slots__ = ("_addresses", "_names", "_never", "_prefixes", "_suffixes", "_verdicts")

    def __init__(
        self,
        *,
        names: Iterable[bytes] = (),
        prefixes: Iterable[bytes] = (),
        suffixes: Iterable[bytes] = (),
        addresses: Iterable[bytes] = (),
        never: Iterable[bytes] = (),
    ) -> None:
        self._never = _NEVER.union(never)
        self._names = _ANSWERS.union(names)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._addresses = _ANSWER_ADDRESSES.union(addresses)
        self._verdicts = _Verdicts(self._judge)

    def without(self, names: Iterable[bytes]) -> AnswerHeaders:
        """The same, but for these names (lower case)."""
        return AnswerHeaders(
            names=self._names,
            prefixes=self._prefixes,
            suffixes=self._suffixes,
            addresses=self._addresses,
            never=self._never.union(names),
        )

    def downstream(self, headers: Headers, rewrite: Rewrite) -> Headers:
        """The headers the caller gets, `ALWAYS` included. `rewrite` is called for addresses only."""
        verdicts = self._verdicts
        kept: Headers = []
        named: set[bytes] = set()
        for pair in headers:
            verdict = verdicts.on(pair[0])
            if verdict == _KEEP:
                kept.append(pair)
            elif verdict == _ADDRESS:
                address = rewrite(pair[1])
                if address is not None:
                    kept.append((pair[0], address))
            elif verdict == _CONNECTION and pair[1] not in _PLAIN_CONNECTION:
                named |= _tokens(pair[1])
        if named:
            kept = [pair for pair in kept if pair[0].lower() not in named]
        kept += ALWAYS
        return kept

    def _judge(self, name: bytes) -> int:
        if name == b"connection":
            return _CONNECTION
        if name in self._never or name.startswith(_NEVER_PREFIXES):
            return _DROP
        if name in self._addresses:
            return _ADDRESS
        if name in self._names or name.startswith(self._prefixes) or name.endswith(self._suffixes):
            return _KEEP
        return _DROP


def lines(headers: Headers) -> bytes:
    """Headers as they stand in a message, each line ending in CRLF."""
    return b"".join([b"%b: %b\r\n" % (name, value) for name, value in headers])


def read_as(name: bytes) -> bytes:
    """A header's name as servers read it that turn names into variables: `X_Api_Key` is `x-api-key`."""
    return name.translate(_READ_AS).strip(b"-")


def _judge_request(spelt: bytes) -> int:
    name = read_as(spelt)
    if name == b"connection":
        return _CONNECTION
    if name in _BODYS and name != spelt:
        return _DROP
    return _DROP if name in _PRIVATE or name.startswith(_PRIVATE_PREFIXES) else _KEEP


def _tokens(value: bytes) -> set[bytes]:
    return {token.strip().lower() for token in value.split(b",")}
