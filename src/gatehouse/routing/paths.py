"""What a path may look like, which version it carries, and what of an address is kept on the record. Pure text.

Paths are judged and rewritten as received, percent-encoding untouched: decoding before routing is how a proxy and its
upstream come to read one path differently.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote, unquote_plus, unquote_to_bytes

from gatehouse import errors
from gatehouse.errors import GatehouseError

_SAFE: Final = re.compile(r"/(?:[A-Za-z0-9\-_~!$&'()*+,;=:@/.]|%[0-9A-Fa-f]{2})*")
_SUSPECT: Final = re.compile(r"//|/\.{1,2}(?:[/;]|$)|%(?:25)*(?:2[EeFf]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")
"""Also encoded more than once: nobody knows how often an upstream decodes."""
_ENCODED_HIGH: Final = re.compile(r"%[89A-Fa-f]")
_FAULTS: Final = (
    (re.compile(r"(?!/)"), "the path does not start with `/`"),
    (re.compile(r".*[\x00-\x1f\x7f]", re.DOTALL), "the path holds a control character"),
    (re.compile(r".*[^\x00-\x7f]", re.DOTALL), "the path holds a character that is not ASCII"),
    (re.compile(r".*\\"), "the path holds a backslash"),
    (re.compile(r".*//"), "the path holds an empty segment (`//`)"),
    (re.compile(r".*/\.{1,2}(?:[/;]|$)"), "the path holds a dot segment (`.` or `..`)"),
    (re.compile(r".*%(?:25)*2[Ee]"), "the path holds an encoded dot (%2E)"),
    (re.compile(r".*%(?:25)*2[Ff]"), "the path holds an encoded slash (%2F)"),
    (re.compile(r".*%(?:25)*5[Cc]"), "the path holds an encoded backslash (%5C)"),
    (re.compile(r".*%(?:25)*(?:[01][0-9A-Fa-f]|7[Ff])"), "the path holds an encoded control character"),
    (re.compile(r".*%(?![0-9A-Fa-f]{2})"), "the path holds a `%` that encodes nothing"),
)

_VERSIONS: Final = re.compile(r"(?:/v\d+(?:(?:alpha|beta)\d*)?(?=/|$))+")

_PARAMETERS: Final = 64
"""Of a query that are looked at for the record: none that is kept stands so far behind."""
_GATEWAY_KEY: Final = re.compile(r"(gth_(?:live|test)_)[0-9A-Za-z]+")
_RECORDED: Final = {
    "api-version": re.compile(r"\d{4}-\d{2}-\d{2}(?:-preview)?|v1|preview|latest"),
    "alt": re.compile(r"sse|json|media|proto"),
    "beta": re.compile(r"true|false"),
}
"""Query parameters that are kept, and the values they may have: anything else could be a secret in disguise."""


def refuse_unsafe(path: str) -> None:
    """Raises `GatehouseError` (400) that names the fault of a path no upstream should see."""
    if _SAFE.fullmatch(path) and not _SUSPECT.search(path):
        if _ENCODED_HIGH.search(path) and not _is_utf8(path):
            # Overlong forms (%C0%AE) are how a dot or slash gets past a check.
            raise GatehouseError(errors.BAD_REQUEST, "the path holds encoded bytes that are not UTF-8")
        return
    for pattern, detail in _FAULTS:
        if pattern.match(path):
            raise GatehouseError(errors.BAD_REQUEST, detail)
    raise GatehouseError(errors.BAD_REQUEST, "the path holds a character that must be percent-encoded")


def _is_utf8(path: str) -> bool:
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return True


def split_version(path: str, own: str = "") -> tuple[str, str]:
    """Split leading versions off: `/v1/v1/messages` → (`/v1`, `/messages`); without one (``, path).

    Of several the last counts: it is what the client itself appended. `own`: a provider's version of more than one
    segment (`/v1/openai`), recognised as a whole.
    """
    if own.count("/") > 1 and path.startswith(own) and path[len(own) : len(own) + 1] in ("", "/"):
        return own, path[len(own) :]
    match = _VERSIONS.match(path)
    if match is None:
        return "", path
    run = match[0]
    return run[run.rindex("/") :], path[match.end() :]


def first_segment(path: str) -> str:
    """`/chat/completions` → `chat`."""
    return path[1:].partition("/")[0]


def query_names(query: str) -> set[str]:
    """The names of a query's parameters, decoded: `k%65y=…` is `key`."""
    return {unquote_plus(part.partition("=")[0]) for part in query.split("&")} if query else set()


def recorded_path(raw_path: str, query: str) -> str:
    """A received address as it may stand on a record: the path, and of the query what `_RECORDED` allows, re-spelt.

    Never fails, also for paths that were refused. What looks like a gateway key is cut short.
    """
    path = raw_path.partition("?")[0].partition("#")[0]
    if "gth_" in path or ("%" in path and "gth_" in unquote(path)):
        path = quote(_GATEWAY_KEY.sub(r"\1***", unquote(path)), safe="/:@!$&'()*+,;=~")
    if not query:
        return path
    kept = []
    for part in query.split("&", _PARAMETERS)[:_PARAMETERS]:
        name, _, value = part.partition("=")
        name, value = unquote_plus(name), unquote_plus(value)
        allowed = _RECORDED.get(name)
        if allowed is not None and allowed.fullmatch(value):
            kept.append(f"{name}={value}")
    return f"{path}?{'&'.join(kept)}" if kept else path
