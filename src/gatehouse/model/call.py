"""The values one call passes through the pipeline: who asks, what is asked, where it goes."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Dialect = Literal["openai", "anthropic", "google", "none"]
"""Whose wire format a route speaks. Azure speaks `openai`. `none`: the gateway's own surfaces."""

Surface = Literal["transparent", "unified"]

OutcomeName = Literal["ok", "refused", "upstream_error", "cut", "client_gone", "blocked", "interrupted"]
"""Invariant I2's closed list."""


class Principal(msgspec.Struct, frozen=True):
    """Who a call is made for. Without `auth.enabled` everything belongs to `default`."""

    tenant: str = "default"
    project: str = "default"
    key: str | None = None
    user: str | None = None
    team: str | None = None
    environment: str | None = None
    """Of the project."""
    service: str | None = None
    groups: tuple[str, ...] = ()
    actor: str | None = None
    """As the caller's identity token says."""


ANYBODY: Final = Principal()


class Links(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a request carries of the calls it goes on from, in the provider's words: for the record it is hashed."""

    ids: tuple[str, ...] = ()
    """Of the answer it goes on from, or of tool calls that answer proposed."""
    names: tuple[str, ...] = ()
    """By which later requests may name this one."""
    before: bytes | None = None
    """The conversation up to its last answer, in brief: what the request of that answer had as `whole`."""
    whole: bytes | None = None


class Ask(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a dialect read from a request: what the gateway must know, nothing more."""

    operation: str
    """OpenTelemetry's `gen_ai.operation.name` (`chat`, `embeddings` …), or the endpoint's own word."""
    model: str | None = None
    """The model asked for, as the caller wrote it."""
    stream: bool = False
    max_output: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    choices: int | None = None
    asks_usage: bool | None = None
    """OpenAI streams: the caller's own `stream_options.include_usage`; `None` if the caller sent none."""
    background: bool = False
    """OpenAI responses: generated after the answer is over; that answer has no usage."""
    continues: str | None = None
    """OpenAI responses: the previous response, or the conversation, that the provider adds to the prompt."""
    links: Links | None = None
    input_bytes: int = 0
    """Size of the body read, for estimating a prompt nobody counted."""
    unread: str | None = None
    """Why the body could not be read (invariant I1 still forwards it on a transparent route)."""
    odd: str | None = None
    """What in it some providers may take for more than is known here: no bound holds then."""


class Extent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How large a request may become for the provider: what its worst case is reckoned from (`limits.bound`)."""

    size: int
    """Bytes of the body, decoded. Text in JSON is never shorter than its UTF-8, and no token is shorter than a byte."""
    inline: int = 0
    """Bytes among them that are images or audio in base64, and no text."""
    images: int = 0
    """Images in the body."""
    audio: int = 0
    """Bytes, in base64, of audio in the body."""
    dear: bool = False
    """Something in the prompt may be charged as an image or as audio."""
    window: bool = False
    """Something in it is named by URL or id, or its tokens do not follow from its bytes: nobody can say how much."""
    stored: bool = False
    """It names what the provider keeps: a file, a cache, a vector store, an earlier answer."""
    tools: bool = False
    """It describes tools: some providers add instructions to them."""
    answers: int = 1
    """Answers generated, beside those `Ask.choices` counts."""
    prediction: int = 0
    """Bytes of a predicted output: what of it is rejected is charged as generated."""
    searches: int = 0
    """Web searches of the provider's own tool, at most."""
    file_searches: int = 0
    rounds: int = 0
    """How often the provider goes back to the model with what its own tools found, at most: each time it reads the
    prompt anew."""
    unbounded: str | None = None
    """Why nobody can say what it will cost at most."""


class Origin(msgspec.Struct, frozen=True, order=True):
    """Scheme, host and port of an upstream: what a pool and a credential are bound to (I3).

    `unix`: `host` is a socket's path (the control plane). `builtin`: `host` names a handler inside the worker.
    """

    scheme: Literal["http", "https", "unix", "builtin"]
    host: str
    port: int

    @property
    def builtin(self) -> bool:
        """Inside the gateway: it takes no credential."""
        return self.scheme == "builtin"

    def __str__(self) -> str:
        if self.scheme in ("unix", "builtin"):
            return f"{self.scheme}:{self.host}"
        default = 443 if self.scheme == "https" else 80
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == default else f":{self.port}")


class Route(msgspec.Struct, frozen=True):
    """Where a data-plane request goes, decided on the raw path alone."""

    surface: Surface
    provider: str
    """Name of the provider entry (`openai`, `azure`, `groq` …)."""
    dialect: Dialect
    endpoint: str
    """The endpoint table's name for this path (`chat`, `embeddings`, `messages`, `generate_content`, `other` …)."""
    path: str
    """The path as it goes upstream, base path included, without query."""
    origin: Origin
    prefix: str
    """What our own route to this origin starts with; addresses in answers are rewritten to it."""
    model: str | None = None
    """A model named by the path (Gemini, Azure)."""
    deployment: str | None = None
    """Azure: the deployment that serves."""
    tail: str = ""
    """Unified: the path as below a provider's prefix. Until the body names the model, `provider` is empty."""
    project: str | None = None
    """Unified: the project's uuid, where the path names it."""
