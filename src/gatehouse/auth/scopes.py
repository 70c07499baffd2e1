"""What a gateway key may be used for on the data plane: names of scopes, and what they are worth.

Rules: which endpoint asks for which scope is `routing.scopes`' table, who may hand them out `control.minting`'s. A key
without a scope opens nothing. `docs/access.md` has the same list; a test compares the two.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from typing import Final

from gatehouse.auth.roles import Permission, allowed


class Scope(enum.StrEnum):
    """A part of the providers' APIs."""

    CHAT = "chat"
    """Chat and text completions, responses, messages, generateContent, and counting tokens for them."""
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    """Videos too."""
    AUDIO = "audio"
    MODERATIONS = "moderations"
    MODELS = "models"
    """Listing and reading models."""
    REALTIME = "realtime"
    """Conversations over WebSocket."""
    FILES = "files"
    """Files, uploads, caches: what the provider stores."""
    BATCHES = "batches"
    FINE_TUNING = "fine_tuning"
    ASSISTANTS = "assistants"
    """Assistants, threads, vector stores, containers, conversations: state at the provider."""
    ANY = "provider:any"
    """Everything the provider's account can do, its administration included."""


SCOPES: Final = frozenset([str(scope) for scope in Scope])

DEFAULT: Final = ("chat", "embeddings", "images", "audio", "moderations", "models")
"""Of a key made without naming any: what answers by itself and leaves nothing at the provider."""


def unknown(wanted: Iterable[str]) -> tuple[str, ...]:
    """Those that are no scope."""
    return tuple([name for name in wanted if name not in SCOPES])


def worth(held: Iterable[str], behind: Iterable[str | None]) -> tuple[str, ...]:
    """What a key's scopes still open. `behind`: the roles that its user and its maker have now; `None` is nobody."""
    owned = all([role is None or allowed(role, Permission.TENANT_MANAGE) for role in behind])
    return tuple([name for name in held if owned or name != Scope.ANY])


def covers(held: Collection[str], wanted: str) -> bool:
    """Whether a key with the scopes `held` may do what asks for `wanted`."""
    return wanted in held or (Scope.ANY in held and wanted in SCOPES)


def at_most(held: Collection[str], wanted: Iterable[str]) -> bool:
    """Whether somebody with the scopes `held` may hand out `wanted`: all known, all covered."""
    return all([name in SCOPES and covers(held, name) for name in wanted])
