"""The endpoint table: what a path below a provider's prefix means in each dialect, and how it goes upstream.

One function per dialect: (provider, path below the prefix, is it a POST) → `Placed`. Exactly one version results,
however the caller's base URL was written; everything after the version is passed on as received.

Endpoint names: OpenAI `chat`, `completions`, `embeddings`, `responses`, `moderations`, `image_generation`,
`image_edit`, `image_variation`, `speech`, `transcription`, `translation` (creating only), `stored_response` (one by its
id, or cancelling it), `models`, `files`, `images`, `audio`, `batches`, `fine_tuning`, `videos`; Anthropic `messages`,
`count_tokens` (creating only), `batches`, `models`, `files`; Gemini `generate_content`, `stream_generate_content`,
`embed_content`, `count_tokens`, `cached_contents` (creating only), `models`, `files`, `batches`, `operations`; else
`other`. Spoken over WebSocket (`tunnels`): OpenAI `realtime` and `responses`, Gemini `live`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

from gatehouse.model.call import Dialect, Route
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.routing.paths import first_segment, split_version

OTHER: Final = "other"


class Placed(NamedTuple):
    """Where a path goes and what it asks."""

    path: str
    dialect: Dialect
    endpoint: str
    model: str | None = None


_OPENAI_ROOTS: Final = frozenset(
    "agents assistants audio batches chat chatkit classifications completions containers content_provenance_checks "
    "conversations decisions embeddings evals files fim fine_tuning images live messages models moderations ocr "
    "organization projects realtime rerank responses safety skills threads uploads vaults vector_stores videos "
    "webhook_endpoints webhook_event_types".split()
)
"""First segments of the OpenAI API (openai-py 3.52) and of what compatible providers add to it under their version."""

_OPENAI_CREATES: Final = {
    "/chat/completions": "chat",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/responses": "responses",
    "/responses/compact": "responses",
    "/moderations": "moderations",
    "/images/generations": "image_generation",
    "/images/edits": "image_edit",
    "/images/variations": "image_variation",
    "/audio/speech": "speech",
    "/audio/transcriptions": "transcription",
    "/audio/translations": "translation",
}
_OPENAI_SOCKETS: Final = {"/realtime": "realtime", "/realtime/translations": "realtime", "/responses": "responses"}
"""Asked for by GET, with an upgrade (openai-py 3.52: `resources.realtime`, `resources.responses`)."""
_STORED_RESPONSE: Final = re.compile(r"/responses/[^/]+(/cancel)?")
_OPENAI_FAMILIES: Final = {
    "models": "models",
    "files": "files",
    "uploads": "files",
    "images": "images",
    "audio": "audio",
    "batches": "batches",
    "fine_tuning": "fine_tuning",
    "videos": "videos",
}
_ANTHROPIC_CREATES: Final = {"/messages": "messages", "/messages/count_tokens": "count_tokens"}
_ANTHROPIC_FAMILIES: Final = {"models": "models", "files": "files"}

_GOOGLE_VERBS: Final = {
    "generateContent": "generate_content",
    "streamGenerateContent": "stream_generate_content",
    "embedContent": "embed_content",
    "batchEmbedContents": "embed_content",
    "countTokens": "count_tokens",
    "computeTokens": "count_tokens",
    "batchGenerateContent": "batches",
    "asyncBatchEmbedContent": "batches",
    "predictLongRunning": "operations",
}
_GOOGLE_FAMILIES: Final = {
    "models": "models",
    "tunedModels": "models",
    "files": "files",
    "batches": "batches",
    "operations": "operations",
}
_GOOGLE_MODELS: Final = frozenset(("models", "tunedModels", "endpoints"))
GOOGLE_MEDIA: Final = ("/resumable/upload", "/upload", "/download")
"""What stands before the version in addresses of file contents."""
_VERTEX: Final = ("/projects/", "/publishers/")
_VERTEX_VERSION: Final = "/v1beta1"


_TUNNELLED: Final = frozenset((("openai", "realtime"), ("openai", "responses"), ("google", "live")))


def tunnels(route: Route) -> bool:
    """Whether a request for WebSocket is passed on."""
    return (route.dialect, route.endpoint) in _TUNNELLED


def place(entry: ProviderEntry, tail: str, post: bool) -> Placed:
    """A path below the prefix of any provider but Azure. `tail` is empty or starts with `/`."""
    if tail in ("", "/"):
        return Placed(entry.base_path + tail or "/", entry.dialect, OTHER)
    if entry.dialect == "anthropic":
        unversioned = first_segment(tail) in entry.unversioned
        return _anthropic(entry.base_path, "" if unversioned else entry.version, tail, post)
    if entry.dialect == "google":
        return _google(entry, tail, post)
    return _openai(entry, tail, post)


def openai_endpoint(rest: str, post: bool) -> str:
    """The endpoint of an OpenAI path without its version."""
    found = (_OPENAI_CREATES if post else _OPENAI_SOCKETS).get(rest.removesuffix("/"))
    if found is not None:
        return found
    stored = _STORED_RESPONSE.fullmatch(rest)
    if stored is not None and (stored[1] is not None) == post:
        return "stored_response"
    return _OPENAI_FAMILIES.get(first_segment(rest), OTHER)


def anthropic_endpoint(rest: str, post: bool) -> str:
    """The endpoint of an Anthropic path without its version."""
    created = _ANTHROPIC_CREATES.get(rest.removesuffix("/"))
    if created is not None:
        return created if post else OTHER
    if rest == "/messages/batches" or rest.startswith("/messages/batches/"):
        return "batches"
    return _ANTHROPIC_FAMILIES.get(first_segment(rest), OTHER)


def google_verb(rest: str) -> tuple[str, str]:
    """The model and the verb of a Gemini or Vertex path: `/models/m:generateContent` → (`m`, `generateContent`).

    What is no model (`files/x:download`) has an empty one.
    """
    parent, _, last = rest.rpartition("/")
    name, _, verb = last.replace("%3A", ":").replace("%3a", ":").partition(":")
    collection = parent.rpartition("/")[2]
    if not verb or collection not in _GOOGLE_MODELS:
        return "", verb
    return unquote(name if collection == "models" else f"{collection}/{name}"), verb


def _openai(entry: ProviderEntry, tail: str, post: bool) -> Placed:
    found, rest = split_version(tail, entry.version)
    first = first_segment(rest)
    if first == "anthropic":
        # DeepSeek, Moonshot and others serve Anthropic's API below `/anthropic`.
        return _anthropic(f"{entry.base_path}/anthropic", "/v1", rest.removeprefix("/anthropic"), post)
    version = found
    if first in entry.unversioned:
        version = ""
    elif first in _OPENAI_ROOTS and found in ("", "/v1"):
        version = entry.version
    path = entry.base_path + version + rest
    if first == "model":
        # Bedrock's own API names the model, and what to do with it, in the path.
        return Placed(path, "openai", OTHER, unquote(first_segment(rest.removeprefix("/model"))) or None)
    if first == "messages":
        # vLLM, Ollama, LM Studio, OpenRouter and others serve Anthropic's messages beside the OpenAI API.
        return Placed(path, "anthropic", anthropic_endpoint(rest, post))
    return Placed(path, "openai", openai_endpoint(rest, post))


def _anthropic(base_path: str, version: str, tail: str, post: bool) -> Placed:
    found, rest = split_version(tail)
    return Placed(base_path + (found or version) + rest, "anthropic", anthropic_endpoint(rest, post))


def _google(entry: ProviderEntry, tail: str, post: bool) -> Placed:
    found, rest = split_version(tail)
    if rest == "/openai" or rest.startswith("/openai/"):
        inner_found, inner = split_version(rest.removeprefix("/openai"))
        version = found or (inner_found if inner_found != "/v1" else "") or entry.version
        return Placed(f"{entry.base_path}{version}/openai{inner}", "openai", openai_endpoint(inner, post))
    for media in GOOGLE_MEDIA:
        if rest.startswith(f"{media}/"):
            inner_found, inner = split_version(rest.removeprefix(media))
            version = inner_found or found or entry.version
            return Placed(entry.base_path + media + version + inner, "google", "files")
    version = found or (_VERTEX_VERSION if rest.startswith(_VERTEX) else entry.version)
    if not found and rest.startswith("/ws/"):
        version = ""  # the Live API names its version inside
    path = entry.base_path + version + rest
    if rest.startswith("/ws/") and not post:
        return Placed(path, "google", "live")
    model, verb = google_verb(rest)
    if model:
        return Placed(path, "google", _GOOGLE_VERBS.get(verb, OTHER) if post else OTHER, model)
    if rest.startswith(_VERTEX) and rest.removesuffix("/").endswith("/models"):
        return Placed(path, "google", "models")
    if post and rest.removesuffix("/").endswith("/cachedContents"):
        return Placed(path, "google", "cached_contents")
    return Placed(path, "google", _GOOGLE_FAMILIES.get(first_segment(rest).partition(":")[0], OTHER))
