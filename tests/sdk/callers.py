"""The Python SDKs as callers, one small call each: where each puts its key, and what a refusal is to it.

Rules: no retries, one call each, over HTTP clients that are shared (a new one costs more than the call). What an SDK
raised comes back as a value, `Refused`, with the SDK's own exception in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import openai
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

Words = Mapping[str, str]
SHARED = httpx2.Client(verify=False, timeout=20)
_UNUSED = "unused"


@dataclass(frozen=True)
class Asking:
    """How a caller asks: the SDK's own key, and further headers and query parameters."""

    base: str
    key: str
    headers: Words = field(default_factory=dict)
    query: Words = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """What came instead of an answer."""

    error: Exception
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """`place`: the header of the SDK's own key; `stored`: the one of the provider's, and how the key stands there."""

    provider: str
    place: str
    stored: tuple[str, str]
    below: Mapping[str, str]
    """Base URLs by surface: `transparent`, `services`, and where the SDK has one `unified`, `project`."""
    call: Callable[[Asking], str | None]
    """The answer's text."""
    raises: Mapping[int, type[Exception]]

    def ask(self, asking: Asking) -> str | Refused:
        try:
            return self.call(asking) or ""
        except (openai.APIStatusError, anthropic.APIStatusError) as error:
            return Refused(error, error.status_code, error.response.json())
        except genai_errors.APIError as error:
            return Refused(error, error.code, error.details)


def _openai(asking: Asking) -> str | None:
    client = openai.OpenAI(
        base_url=asking.base, api_key=asking.key, default_headers=asking.headers, default_query=asking.query,
        max_retries=0, http_client=SHARED,
    )  # fmt: skip
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    return answer.choices[0].message.content


def _async_openai(asking: Asking) -> str | None:
    async def run() -> str | None:
        async with httpx2.AsyncClient(verify=False, timeout=20) as http:
            client = openai.AsyncOpenAI(
                base_url=asking.base, api_key=asking.key, default_headers=asking.headers, default_query=asking.query,
                max_retries=0, http_client=http,
            )  # fmt: skip
            answer = await client.responses.create(model="gpt-4o", input="hi")
            return answer.output_text

    return asyncio.run(run())


def _azure(asking: Asking, token: str | None = None) -> str | None:
    client = openai.AzureOpenAI(
        azure_endpoint=asking.base, api_version="2024-10-21", default_headers=asking.headers,
        default_query=asking.query, max_retries=0, http_client=SHARED,
        api_key=None if token else asking.key, azure_ad_token=token,
    )  # fmt: skip
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    return answer.choices[0].message.content


def _azure_entra(asking: Asking) -> str | None:
    return _azure(asking, asking.key)


def _anthropic(asking: Asking, token: str | None = None) -> str | None:
    client = anthropic.Anthropic(
        base_url=asking.base, default_headers=asking.headers, default_query=asking.query,
        max_retries=0, http_client=SHARED, api_key=None if token else asking.key, auth_token=token,
    )  # fmt: skip
    message = client.messages.create(
        model="claude-sonnet-5", max_tokens=64, messages=[{"role": "user", "content": "hi"}]
    )
    return message.content[0].text if message.content[0].type == "text" else None


def _anthropic_token(asking: Asking) -> str | None:
    return _anthropic(asking, asking.key)


def _genai(asking: Asking) -> str | None:
    with httpx2.Client(verify=False, timeout=20, params=asking.query) as http:
        options = types.HttpOptions(base_url=asking.base, headers=dict(asking.headers), httpx_client=http)
        client = genai.Client(api_key=asking.key or _UNUSED, http_options=options)
        return client.models.generate_content(model="gemini-2.5-flash", contents="hi").text


_OPENAI = {
    "transparent": "/openai/v1", "services": "/trueportai-services/openai/v1", "unified": "/v1",
    "project": "/api/{project}/v1", "proxy": "/api/v1/gateway/proxy/v1",
}  # fmt: skip
_AZURE = {
    "transparent": "/azure/my-resource/gpt-4o-deploy",
    "services": "/trueportai-services/azure/my-resource/gpt-4o-deploy",
}
_ANTHROPIC = {
    "transparent": "/anthropic", "services": "/trueportai-services/anthropic/v1", "unified": "",
    "project": "/api/{project}", "proxy": "/api/v1/gateway/proxy/v1",
}  # fmt: skip
_GOOGLE = {
    "transparent": "/google", "services": "/trueportai-services/google", "unified": "", "project": "/api/{project}",
    "proxy": "/api/v1/gateway/proxy",
}  # fmt: skip
_OPENAI_RAISES = {401: openai.AuthenticationError, 403: openai.PermissionDeniedError, 502: openai.InternalServerError}
_ANTHROPIC_RAISES = {
    401: anthropic.AuthenticationError, 403: anthropic.PermissionDeniedError, 502: anthropic.InternalServerError,
}  # fmt: skip
_GOOGLE_RAISES = {401: genai_errors.ClientError, 403: genai_errors.ClientError, 502: genai_errors.ServerError}

_BEARER = ("authorization", "Bearer {}")
_KEY = ("api-key", "{}")
_XKEY = ("x-api-key", "{}")
_GKEY = ("x-goog-api-key", "{}")

# anthropic-py 2.11 sends `api_key` as a Bearer token; `x-api-key`, where older ones put it, is a position like others.
CALLERS = {
    "openai": Caller("openai", "authorization", _BEARER, _OPENAI, _openai, _OPENAI_RAISES),
    "AsyncOpenAI": Caller("openai", "authorization", _BEARER, _OPENAI, _async_openai, _OPENAI_RAISES),
    "AzureOpenAI": Caller("azure", "api-key", _KEY, _AZURE, _azure, _OPENAI_RAISES),
    "AzureOpenAI, Entra": Caller("azure", "authorization", _KEY, _AZURE, _azure_entra, _OPENAI_RAISES),
    "anthropic": Caller("anthropic", "authorization", _XKEY, _ANTHROPIC, _anthropic, _ANTHROPIC_RAISES),
    "anthropic, auth_token": Caller(
        "anthropic", "authorization", _XKEY, _ANTHROPIC, _anthropic_token, _ANTHROPIC_RAISES
    ),
    "google-genai": Caller("google", "x-goog-api-key", _GKEY, _GOOGLE, _genai, _GOOGLE_RAISES),
}
