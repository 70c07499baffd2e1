"""The values one call passes through the pipeline: who asks, what is asked, where it goes."""

from __future__ import annotations

from typing import Literal

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


class Origin(msgspec.Struct, frozen=True, order=True):
    """Scheme, host and port of an upstream: what a pool and a credential are bound to (I3).

    `unix`: `host` is a socket's path (the control plane). `builtin`: `host` names a handler inside the worker.
    """

    scheme: Literal["http", "https", "unix", "builtin"]
    host: str
    port: int

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
