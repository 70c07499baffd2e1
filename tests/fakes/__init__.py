"""Fake providers that speak the real wire formats over real sockets.

    with fakes.openai() as fake:
        client = OpenAI(base_url=fake.url + "/v1", api_key="sk-test")
        ...
        assert fake.last.path == "/v1/chat/completions"

Each takes `gzip_policy` (`json`: plain answers are compressed where the client accepts it, as the providers do; `all`:
streams too; `never`) and `tls` (a server-side context). A request header `x-fake: cut=120` or `fake.misbehave(...)`
makes one answer go wrong; `server.Misbehaviour` lists the ways. The `*_api` modules name the sources of their formats.
"""

from __future__ import annotations

import ssl
from contextlib import AbstractContextManager

from tests.fakes import anthropic_api, azure_api, gemini_api, openai_api
from tests.fakes.server import Answer, Answerer, Fake, GzipPolicy, Misbehaviour, Seen, host_of

__all__ = [
    "Answer",
    "Answerer",
    "Fake",
    "GzipPolicy",
    "Misbehaviour",
    "Seen",
    "anthropic",
    "anthropic_api",
    "azure",
    "azure_api",
    "gemini",
    "gemini_api",
    "host_of",
    "openai",
    "openai_api",
]


def openai(*, gzip_policy: GzipPolicy = "json", tls: ssl.SSLContext | None = None) -> AbstractContextManager[Fake]:
    return Fake(openai_api.answer, gzip_policy=gzip_policy, tls=tls).serving()


def anthropic(*, gzip_policy: GzipPolicy = "json", tls: ssl.SSLContext | None = None) -> AbstractContextManager[Fake]:
    return Fake(anthropic_api.answer, gzip_policy=gzip_policy, tls=tls).serving()


def gemini(*, gzip_policy: GzipPolicy = "json", tls: ssl.SSLContext | None = None) -> AbstractContextManager[Fake]:
    return Fake(gemini_api.answer, gzip_policy=gzip_policy, tls=tls).serving()


def azure(*, gzip_policy: GzipPolicy = "json", tls: ssl.SSLContext | None = None) -> AbstractContextManager[Fake]:
    return Fake(azure_api.answer, gzip_policy=gzip_policy, tls=tls).serving()
