"""What a stored credential may be used for: one look-up in the endpoint table (`scope_rows`).

A stored key must not lend its whole account: a call that matches no row is refused by whoever asks. What a row says:
the scope a gateway key needs, what the call may cost, and whether it reaches what the provider keeps, which a
credential shared by several projects must not.

Rules: pure. Paths are judged as they go upstream. A segment that a lenient server might read otherwise (an encoded
letter, a `;`, a literal in other capitals) matches nothing. Twenty microseconds: whoever asks remembers the answer by
head.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple, cast

from gatehouse.model.call import Dialect, Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing.azure import is_azure
from gatehouse.routing.endpoints import GOOGLE_MEDIA
from gatehouse.routing.paths import split_version
from gatehouse.routing.scope_rows import ANTHROPIC, GOOGLE, OPENAI

Scope = Literal[
    "chat",
    "embeddings",
    "images",
    "audio",
    "moderations",
    "files",
    "batches",
    "fine_tuning",
    "models",
    "realtime",
    "assistants",
    "provider:any",
]
"""`provider:any`: account administration, minting of keys and ephemeral tokens, keeping of secrets."""

Cost = Literal["free", "metered", "model", "unbounded"]
"""`free`: reads, lists, counts. `metered`: bounded by its prompt and the output maximum it names. `model`: bounded by
what the model puts out at most, as the request cannot name less. `unbounded`: nobody can say beforehand (batches,
fine-tuning, realtime, video, runs of agents; forms, which are not read; storage charged by time)."""


class Access(NamedTuple):
    """A row of the table. The endpoint's name, as dialects know it, is `Route.endpoint`."""

    scope: Scope
    cost: Cost
    stored: bool
    """It lists, reads or uses objects that the provider keeps, by ids that may be others'."""


_ODD: Final = re.compile(r";|%(?:2[dD]|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA]|5[fF]|7[eE])")
"""Encoded where no client encodes: letters, digits, `-`, `_`, `~`. Dots and slashes never come this far."""
_VERTEX: Final = re.compile(r"/projects/[^/]+/locations/[^/]+(?=/)")
_PUBLISHER: Final = re.compile(r"/publishers/[^/]+(?=/)")
_COLON: Final = re.compile("%3a", re.IGNORECASE)
_DEPLOYED: Final = re.compile(r"/deployments/[^/]+")
_OPENAI_BELOW_GOOGLE: Final = "/openai"
_ANTHROPIC_BELOW_OPENAI: Final = "/anthropic"


class _Node:
    """What may follow a path's beginning."""

    __slots__ = ("any", "below", "exact", "folded", "here")

    def __init__(self) -> None:
        self.exact: dict[str, _Node] = {}
        self.folded: set[str] = set()
        self.any: _Node | None = None
        self.here: Access | None = None
        self.below: Access | None = None


def access(entry: ProviderEntry, route: Route, method: bytes) -> Access | None:
    """The row that a call matches, if any. `entry`: the route's provider."""
    rest = below_version(entry, route)
    if rest is None or _ODD.search(rest):
        return None
    return look_up(route.dialect, method.decode("latin-1"), rest)


def look_up(dialect: Dialect, method: str, rest: str) -> Access | None:
    """The same for a path below its provider's base and version."""
    node = _TREES.get((dialect, method))
    if node is None:
        return None
    below: Access | None = None
    for segment in _segments(dialect, rest):
        if node.below is not None:
            below = node.below
        following = node.exact.get(segment)
        if following is None:
            if segment.casefold() in node.folded:
                return None
            following = node.any
        if following is None:
            return below
        node = following
    return node.here or below


def below_version(entry: ProviderEntry, route: Route) -> str | None:
    """A route's path as the provider's reference names it: `/v1/chat/completions` → `/chat/completions`.

    `None` where it does not lie where the provider's API does.
    """
    path = route.path
    if not path.startswith(entry.base_path + "/"):
        return None
    rest = path[len(entry.base_path) :]
    if is_azure(entry):
        return _below_azure(rest)
    if entry.dialect == "google":
        return _below_google(rest, route.dialect)
    if route.dialect == "anthropic" and rest.startswith(_ANTHROPIC_BELOW_OPENAI + "/"):
        rest = rest[len(_ANTHROPIC_BELOW_OPENAI) :]
    return split_version(rest, entry.version)[1]


def _below_azure(rest: str) -> str | None:
    if not rest.startswith("/openai/"):
        return None
    rest = rest[len("/openai") :]
    deployed = _DEPLOYED.match(rest)
    return rest[deployed.end() :] if deployed is not None else split_version(rest)[1]


def _below_google(rest: str, dialect: Dialect) -> str | None:
    for media in GOOGLE_MEDIA:
        if rest.startswith(media + "/"):
            return media + split_version(rest[len(media) :])[1]
    rest = split_version(rest)[1]
    if dialect != "openai":
        return rest
    return rest[len(_OPENAI_BELOW_GOOGLE) :] if rest.startswith(_OPENAI_BELOW_GOOGLE + "/") else None


def _segments(dialect: Dialect, rest: str) -> list[str]:
    """`/models/m:generateContent` → `models`, `m`, `:generateContent`; of Vertex without project and publisher."""
    rest = rest.removesuffix("/")
    if dialect != "google":
        return rest[1:].split("/")
    project = _VERTEX.match(rest)
    if project is not None:
        rest = rest[project.end() :]
    publisher = _PUBLISHER.match(rest)
    if publisher is not None:
        rest = rest[publisher.end() :]
    segments = rest[1:].split("/")
    name, colon, verb = _COLON.sub(":", segments[-1]).partition(":")
    if colon:
        segments[-1] = name
        segments.append(":" + verb)
    return segments


def _trees() -> dict[tuple[Dialect, str], _Node]:
    trees: dict[tuple[Dialect, str], _Node] = {}
    tables: tuple[tuple[Dialect, str], ...] = (("openai", OPENAI), ("anthropic", ANTHROPIC), ("google", GOOGLE))
    for dialect, table in tables:
        for line in table.strip().splitlines():
            methods, path, scope, cost, *stored = line.split()
            row = Access(cast("Scope", scope), cast("Cost", cost), bool(stored))
            for method in methods.split(","):
                node = trees.setdefault((dialect, method), _Node())
                _plant(node, _segments(dialect, path), row)
    return trees


def _plant(node: _Node, segments: list[str], row: Access) -> None:
    for segment in segments:
        if segment == "**":
            node.below = row
            return
        if segment == "{}":
            if node.any is None:
                node.any = _Node()
            node = node.any
        else:
            node.folded.add(segment.casefold())
            node = node.exact.setdefault(segment, _Node())
    node.here = row


_TREES: Final = _trees()
