"""Headers of providers' answers that must reach the caller, because SDKs read them or support asks for them."""

from __future__ import annotations

import re
from pathlib import Path

import anthropic
import google.genai
import openai
import pytest

from gatehouse.http.headers import ALWAYS
from gatehouse.providers.answers import answer_headers

# From the providers' references: OpenAI "Debugging requests", Anthropic "Response headers" and "Rate limits", Azure
# OpenAI, Groq, OpenRouter, Mistral, NVIDIA.
KNOWN = [
    "x-request-id", "openai-organization", "openai-processing-ms", "openai-version", "openai-model",
    "x-ratelimit-limit-requests", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests",
    "request-id", "anthropic-organization-id", "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-input-tokens-reset", "retry-after", "retry-after-ms", "x-should-retry",
    "apim-request-id", "x-ms-region", "x-ms-client-request-id", "azureml-model-session", "x-groq-region",
    "x-goog-upload-status", "x-goog-upload-chunk-granularity", "mistral-correlation-id", "x-generation-id",
    "x-amzn-requestid", "nvcf-reqid", "cf-ray", "ratelimit-remaining",
]  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_known_headers_pass(name: str) -> None:
    for spelling in (name, name.title(), name.upper()):
        header = (spelling.encode(), b"v")
        assert answer_headers().downstream([header], lambda address: None) == [header, *ALWAYS]


_READ = re.compile(r"""headers\.get\(\s*["']([A-Za-z0-9-]+)["']|headers\[["']([A-Za-z0-9-]+)["']\]""")
_NOT_ANSWERS = {
    "authorization", "x-api-key", "api-key", "accept", "cookie", "user-agent", "content-length", "idempotency-key",
    "x-goog-api-client", "x-goog-api-key", "x-goog-user-project", "anthropic-beta", "x-stainless-custom-poll-interval",
    "x-stainless-retry-count", "x-server-timeout", "status-code", "x-stainless-helper-method", "x-stainless-timeout",
    "x-stainless-read-timeout", "x-custom-header", "aws-endpoint-url", "x-amz-security-token", "x-amz-content-sha256",
}  # fmt: skip
"""Names that the SDKs set or look up in requests."""


@pytest.mark.parametrize("module", [openai, anthropic, google.genai])
def test_every_header_an_sdk_reads_passes(module: object) -> None:
    """The installed SDKs' own sources are asked, so that a new version that reads more is noticed."""
    file = getattr(module, "__file__", None)
    assert file is not None
    package = Path(file).parent
    sources = [path for path in package.rglob("*.py") if "tests" not in path.parts]
    read = {name.lower() for path in sources for pair in _READ.findall(path.read_text()) for name in pair if name}
    filter_ = answer_headers()
    lost = {
        name
        for name in read - _NOT_ANSWERS
        if len(filter_.downstream([(name.encode(), b"v")], lambda address: address)) == len(ALWAYS)
    }
    assert lost == set()
    assert len(sources) > 50


def test_addresses() -> None:
    names = ["Location", "Content-Location", "Operation-Location", "X-Goog-Upload-URL", "x-goog-upload-control-url"]
    for name in names:
        assert answer_headers().downstream([(name.encode(), b"v")], lambda address: None) == [*ALWAYS]
        assert answer_headers().downstream([(name.encode(), b"v")], lambda address: b"w")[0] == (name.encode(), b"w")
