"""Every position of a head in which a credential can stand: what is found there, and the head without it.

Rules (`docs/access.md` has the table)
- All lines are read, also of a repeated header. What a caller sends twice counts once; different gateway credentials
  are refused, never chosen from.
- Ours are: what looks like a gateway key, also cut short or mistyped; whatever stands in a header of ours; a JWT whose
  issuer is configured. Everything else is a provider's. Looking like a key authenticates nobody.
- I3: nothing of ours goes upstream. Either form of a head is searched once more before it is handed out, every header
  and the whole target, since what is not found is forwarded.
- Pure, and run once per distinct head (`pipeline.facts`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from gatehouse import errors
from gatehouse.auth.keys import resembles
from gatehouse.errors import GatehouseError
from gatehouse.http.headers import read_as
from gatehouse.http.message import Headers

Issued = Callable[[bytes], bool]
"""Whether a JWT, unverified, names an issuer that is configured (`identity.Identities.issued`)."""

_OURS: Final = -1
_SUBPROTOCOL: Final = 4
_RANKS: Final[dict[bytes, int]] = {
    b"authorization": 0,
    b"x-api-key": 1,
    b"api-key": 2,
    b"x-goog-api-key": 3,
    b"sec-websocket-protocol": _SUBPROTOCOL,
    b"x-gatehouse-key": _OURS,
    b"x-ongoingai-gateway-key": _OURS,
}
"""Where SDKs put keys. Of several provider keys the one of the lowest rank is on the record."""
_QUERY_RANK: Final = 5
_IDENTITY: Final = b"x-gatehouse-identity"
_HEADERS_OF_OURS: Final = frozenset((b"x-gatehouse-key", b"x-ongoingai-gateway-key", _IDENTITY))

_QUERY: Final = frozenset((b"key", b"$key", b"api-key", b"access_token", b"oauth_token"))
"""Google's system parameters (docs.cloud.google.com/apis/docs/system-parameters; its discovery documents have the
tokens), and Azure's for WebSockets from browsers. Names are compared decoded and in lower case."""
_QUERY_CLEARED: Final = _QUERY | frozenset((b"userproject", b"$userproject"))

_CLEARED: Final = (
    (_RANKS.keys() - {b"sec-websocket-protocol"})
    | _HEADERS_OF_OURS
    | frozenset(
        b"proxy-authorization ocp-apim-subscription-key x-amz-security-token x-amz-date x-amz-content-sha256 "
        b"openai-organization openai-project x-goog-user-project "
        b"x-http-method-override x-http-method x-method-override".split()
    )
)
"""Also what picks an account within a credential, what signs a request, and what would make another of it than the one
that was allowed."""

_INSECURE: Final = b"openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket; OpenAI takes the key as a subprotocol, and the account beside it."""
_SUBPROTOCOLS_CLEARED: Final = (_INSECURE, b"openai-organization.", b"openai-project.")

_DIFFERENT: Final = 8
"""Credentials of ours that are told apart: two are too many already."""
_RUNS: Final = 8
"""Of Basic authentication, between signs of padding, that are decoded one by one."""
_ENTRIES: Final = 64
"""Subprotocols that are looked at, and go on."""

_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/]+")
_SEPARATORS: Final = re.compile("[;&]")
_QUERY_SIGNATURE: Final = b"x-amz-"
"""AWS takes a signature, and its key's id, from the query as well."""


class Form(NamedTuple):
    """A head as it may go upstream, but for what `http.headers` takes out."""

    headers: Headers
    query: str


class Positions:
    """The credentials of one head, each distinct one once."""

    __slots__ = (
        "_headers", "_lines", "_parts", "_path", "_query", "_where", "gateway", "identity", "provider", "tokens",
    )  # fmt: skip

    def __init__(self, headers: Headers, path: str, query: str) -> None:
        self.gateway: list[bytes] = []
        """Gateway keys, or what is taken for one."""
        self.tokens: list[bytes] = []
        """JWTs of configured issuers that stand where a key would."""
        self.provider: list[bytes] = []
        """Providers' keys, by rank."""
        self.identity: list[bytes] = []
        """What `X-Gatehouse-Identity` says; an empty value too."""
        self._headers = headers
        self._path = path
        self._query = query
        self._lines: set[int] = set()
        """Which headers hold something of ours."""
        self._parts: set[int] = set()
        """Which parameters do."""
        self._where: list[str] = []

    def single(self) -> bytes | None:
        """The one gateway credential, key or token; `None` without one.

        Raises `GatehouseError` (401 `ambiguous_credentials`) if there are several different ones.
        """
        if len(self.gateway) + len(self.tokens) > 1:
            raise GatehouseError(
                errors.AMBIGUOUS_CREDENTIALS,
                f"different gateway credentials in one request ({', '.join(self._where)}); send one",
            )
        if len(self.identity) > 1:
            raise GatehouseError(errors.AMBIGUOUS_CREDENTIALS, "different X-Gatehouse-Identity headers; send one")
        if self.gateway:
            return self.gateway[0]
        return self.tokens[0] if self.tokens else None

    def refuse_gateway_keys(self) -> None:
        """With authentication off: raises `GatehouseError` (401) if anything like a gateway key stands anywhere."""
        for text in self.gateway:
            if resembles(text):
                raise _needs_auth()
        if self._stray(self._headers, self._query):
            raise _needs_auth()

    def check_path(self) -> None:
        """Raises `GatehouseError` (401) where something like a gateway key stands in the path: before any part of it
        is kept, or told to anybody."""
        if resembles(self._path.encode()):
            raise _misplaced()

    def own(self) -> Form:
        """The head for a caller's own provider key: without what is ours, and otherwise as it came.

        Raises `GatehouseError` (401) where something like a gateway key stands elsewhere.
        """
        headers: Headers = []
        for at, pair in enumerate(self._headers):
            if at in self._lines:
                if pair[0].lower() == b"sec-websocket-protocol":
                    _add_entries(headers, pair, [not self._is_ours(entry) for entry in _entries(pair[1])])
            elif read_as(pair[0]) not in _HEADERS_OF_OURS:
                headers.append(pair)
        query = self._query
        if self._parts:
            query = "&".join([part for at, part in enumerate(query.split("&")) if at not in self._parts])
        return self._searched(headers, query)

    def cleared(self) -> Form:
        """The head for a stored credential: no credential in any position, nothing that picks an account.

        Raises `GatehouseError` (401) where something like a gateway key stands elsewhere.
        """
        headers: Headers = []
        for pair in self._headers:
            name = read_as(pair[0])
            if name == b"sec-websocket-protocol":
                kept = [not entry.lower().startswith(_SUBPROTOCOLS_CLEARED) for entry in _entries(pair[1])]
                _add_entries(headers, pair, kept)
            elif name not in _CLEARED:
                headers.append(pair)
        query = self._query
        if query:
            query = "&".join([part for part in query.split("&") if not _is_cleared(part)])
        return self._searched(headers, query)

    def read(self, issued: Issued | None) -> None:
        """Fill the lists."""
        ranked: list[tuple[int, bytes]] = []
        for at, (name, value) in enumerate(self._headers):
            lower = name.lower()
            rank = _RANKS.get(lower)
            if rank is not None:
                if self._take_hidden(rank, value, issued):
                    self._lines.add(at)
                    continue
                for text in _texts(rank, value):
                    if self._take(text, rank, issued, lower.decode("latin-1")):
                        self._lines.add(at)
                    else:
                        ranked.append((rank, text))
            elif lower == _IDENTITY:
                _add(self.identity, _without_scheme(value))
        if self._query:
            self._read_query(ranked, issued)
        ranked.sort(key=_rank_of)
        self.provider = list(dict.fromkeys([text for _, text in ranked]))

    def _read_query(self, ranked: list[tuple[int, bytes]], issued: Issued | None) -> None:
        for at, part in enumerate(self._query.split("&")):
            name, _, value = part.partition("=")
            if not value or _decoded(name) not in _QUERY:
                continue
            text = unquote_to_bytes(value.replace("+", " ")).strip()
            if self._take(text, _QUERY_RANK, issued, "the query"):
                self._parts.add(at)
            elif text:
                ranked.append((_QUERY_RANK, text))

    def _take_hidden(self, rank: int, value: bytes, issued: Issued | None) -> bool:
        """Whether name or password of Basic authentication is ours."""
        hidden = _basic(value) if rank == 0 else None
        return hidden is not None and any([self._take(text, rank, issued, "authorization") for text in hidden])

    def _take(self, text: bytes, rank: int, issued: Issued | None, where: str) -> bool:
        """Take down a credential if it is ours; whether it is."""
        if issued is not None and text.count(b".") == 2 and issued(text):
            known = self.tokens
        elif rank == _OURS or resembles(text):
            known = self.gateway
        else:
            return False
        if _add(known, text):
            self._where.append(where)
        return True

    def _is_ours(self, entry: bytes) -> bool:
        key = entry[len(_INSECURE) :] if entry.startswith(_INSECURE) else b""
        return key in self.gateway or key in self.tokens

    def _searched(self, headers: Headers, query: str) -> Form:
        if self._stray(headers, query):
            raise _misplaced()
        return Form(headers, query)

    def _stray(self, headers: Headers, query: str) -> bool:
        """Names are searched too: they go upstream as well."""
        return resembles(b"\n".join([part for pair in headers for part in pair])) or resembles(
            f"{self._path}?{query}".encode()
        )


def found(headers: Headers, path: str, query: str, issued: Issued | None = None) -> Positions:
    """What a head carries. `path` and `query` as received, still encoded. Never raises."""
    positions = Positions(headers, path, query)
    positions.read(issued)
    return positions


def _misplaced() -> GatehouseError:
    return GatehouseError(
        errors.UNAUTHORIZED,
        "something like a gateway key stands where no key belongs (another header or parameter, or the path); "
        "send it where the SDK puts keys, and nowhere else",
    )


def _needs_auth() -> GatehouseError:
    return GatehouseError(
        errors.UNAUTHORIZED,
        "gateway keys need auth.enabled, which is off (gatehouse init, then serve); send the provider's own key",
    )


def _texts(rank: int, value: bytes) -> list[bytes]:
    """The credentials in the value of a header, of whoever they are."""
    if rank == _SUBPROTOCOL:
        keys = [entry[len(_INSECURE) :] for entry in _entries(value) if entry.startswith(_INSECURE)]
        return [key for key in keys if key]
    value = _without_scheme(value) if rank <= 0 else value.strip()
    return [value] if value else []


def _basic(value: bytes) -> list[bytes] | None:
    """Basic authentication hides its name and password in base64: either may be ours. `None`: it is not Basic."""
    words = value.split(None, 1)
    if len(words) != 2 or words[0].lower() != b"basic":
        return None
    plain = b"".join([_unpadded(run) for run in words[1].replace(b"-", b"+").replace(b"_", b"/").split(b"=", _RUNS)])
    name, _, password = plain.partition(b":")
    return [name.strip(), password.strip()]


def _unpadded(run: bytes) -> bytes:
    """As leniently as anybody upstream may decode: what is no base64 is skipped, half a byte at the end too."""
    run = _NOT_BASE64.sub(b"", run)
    if len(run) % 4 == 1:
        run = run[:-1]
    return b64decode(run + b"=" * (-len(run) % 4))


def _without_scheme(value: bytes) -> bytes:
    words = value.split(None, 1)
    if words and words[0].lower() == b"bearer":
        return words[1].strip() if len(words) == 2 else b""
    return value.strip()


def _entries(value: bytes) -> list[bytes]:
    return [entry.strip() for entry in value.split(b",", _ENTRIES)[:_ENTRIES]]


def _add_entries(headers: Headers, pair: tuple[bytes, bytes], kept: list[bool]) -> None:
    """The entries that are kept; the header as it came, if all are, and there may be no more of them."""
    if all(kept) and len(kept) < _ENTRIES:
        headers.append(pair)
    elif any(kept):
        headers.append(
            (pair[0], b", ".join([entry for entry, keep in zip(_entries(pair[1]), kept, strict=True) if keep]))
        )


def _decoded(name: str) -> bytes:
    return unquote_to_bytes(name.replace("+", " ")).strip().lower()


def _is_cleared(part: str) -> bool:
    """Some servers still take `;` for `&`."""
    names = [_decoded(piece.partition("=")[0]) for piece in _SEPARATORS.split(part)]
    return any([name in _QUERY_CLEARED or name.startswith(_QUERY_SIGNATURE) for name in names])


def _rank_of(found: tuple[int, bytes]) -> int:
    return found[0]


def _add(known: list[bytes], text: bytes) -> bool:
    """Whether it was not known, and mattered."""
    if text in known or len(known) == _DIFFERENT:
        return False
    known.append(text)
    return True
