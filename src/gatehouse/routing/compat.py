"""The own paths of the systems Gatehouse replaces, mapped to canonical ones. One small table, on by default.

Rules: a path of theirs answers only under its own prefix; where their path says nothing the canonical route would not
say, it is an alias and nothing else. `PROXY` alone serves every dialect on one base: which provider is meant is read
from the path, and where three APIs share a path (`/models`, `/files`) from the headers their clients send.
"""

from __future__ import annotations

from typing import Final, Literal

from gatehouse.http.message import Headers
from gatehouse.routing.endpoints import google_verb
from gatehouse.routing.paths import first_segment, query_names, split_version

Claim = Literal["openai", "anthropic", "google", "azure"]

SERVICES: Final = "/trueportai-services"
PROXY: Final = "/api/v1/gateway/proxy"

_CONTROL: Final = {
    f"{SERVICES}/health": "/health",
    "/api/health": "/health",
    f"{SERVICES}/api/v1/keys": "/api/v1/services/keys",
    "/api/traces": "/api/v1/traces",
}
_CONTROL_BELOW: Final = (
    (f"{SERVICES}/api/v1/", "/api/v1/"),
    ("/api/traces/", "/api/v1/traces/"),
    ("/api/analytics/", "/api/v1/analytics/"),
)
DATA: Final[dict[str, str]] = {
    f"{SERVICES}/openai": "openai",
    f"{SERVICES}/anthropic": "anthropic",
    f"{SERVICES}/google": "google",
    f"{SERVICES}/azure": "azure",
    "/upload": "google",
}
"""Prefix → provider. google-genai drops the path of its base URL when it sends a file's contents: `/upload/…`."""

KEEPS_PREFIX: Final = "/upload"
"""The one prefix of `DATA` that is part of the provider's own path."""

_GOOGLE_ROOTS: Final = frozenset(
    ("upload", "tunedModels", "cachedContents", "fileSearchStores", "projects", "publishers")
)
_ANTHROPIC_ROOTS: Final = frozenset(("messages", "complete", "organizations"))
_AZURE_ROOTS: Final = frozenset(("openai", "deployments"))
_SHARED_ROOTS: Final = frozenset(("models", "files", "batches", "agents", "skills", "vaults", "environments", ""))
"""First segments that more than one API has."""


def control_path(path: str) -> str | None:
    """The control plane's path for one of theirs."""
    exact = _CONTROL.get(path)
    if exact is not None:
        return exact
    for theirs, ours in _CONTROL_BELOW:
        if path.startswith(theirs):
            return ours + path[len(theirs) :]
    return None


def claim_by_path(tail: str) -> Claim | None:
    """Whose API a path below `PROXY` belongs to; `None` where more than one has it."""
    version, rest = split_version(tail)
    first = first_segment(rest)
    if first in _AZURE_ROOTS:
        return "azure"
    if first in _ANTHROPIC_ROOTS:
        return "anthropic"
    if version not in ("", "/v1") or first in _GOOGLE_ROOTS or google_verb(rest)[0]:
        return "google"
    return None if first in _SHARED_ROOTS else "openai"


def claim_by_headers(query: str, headers: Headers) -> Claim:
    """Whose client sends this: `anthropic-version` → Anthropic; `x-goog-*` or `?key=` → Gemini; else OpenAI."""
    names = [name.lower() for name, _ in headers]
    if b"anthropic-version" in names:
        return "anthropic"
    if any(name.startswith(b"x-goog-") for name in names) or "key" in query_names(query):
        return "google"
    return "openai"
