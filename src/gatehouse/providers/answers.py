"""Which headers of providers' answers reach the caller, beyond those of HTTP itself (`http.headers`).

An allow-list: request ids that support asks for, rate limits, retry advice, and what the SDKs read. Checked against
openai-py 3.52 (`retry-after-ms`, `x-should-retry`, `x-request-id`, `openai-poll-after-ms`), anthropic-py 2.11
(`request-id`, `anthropic-workspace-id`), google-genai-py 3.4 (`x-goog-upload-url`, `x-goog-upload-status`) and AWS's
reference of InvokeModel (`X-Amzn-Bedrock-Input-Token-Count` and its kin).
"""

from __future__ import annotations

from typing import Final

from gatehouse.http.headers import AnswerHeaders

_NAMES: Final = frozenset(
    b"retry-after-ms x-should-retry request-id x-generation-id x-amzn-requestid x-amzn-errortype x-api-warning cf-ray "
    b"nvcf-reqid nvcf-status".split()
)
_PREFIXES: Final = (
    b"anthropic-",
    b"apim-",
    b"azureml-",
    b"fireworks-",
    b"openai-",
    b"ratelimit-",
    b"x-amzn-bedrock-",
    b"x-gemini-",
    b"x-goog-",
    b"x-groq-",
    b"x-ms-",
    b"x-openrouter-",
    b"x-ratelimit-",
)
_SUFFIXES: Final = (b"-request-id", b"-correlation-id", b"-trace-id")
_ADDRESSES: Final = frozenset(
    b"operation-location azure-asyncoperation x-goog-upload-url x-goog-upload-control-url".split()
)


def answer_headers() -> AnswerHeaders:
    """The filter for answers of providers."""
    return AnswerHeaders(names=_NAMES, prefixes=_PREFIXES, suffixes=_SUFFIXES, addresses=_ADDRESSES)
