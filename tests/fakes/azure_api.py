"""Azure OpenAI as the fakes speak it: OpenAI's bodies under deployment paths, with content-filter annotations.

Sources: the installed `openai` SDK's `lib/azure.py` for the paths it builds; public captures from 2023–2026 for the
rest: the first streamed chunk has `choices: []`, empty `id`, `model` and `object`, `created: 0` and
`prompt_filter_results`; later chunks carry `content_filter_results` per choice; plain answers carry both; 401 has only
`code` and `message`, an unknown deployment is 404 `DeploymentNotFound`, a blocked prompt is 400 `content_filter`.
"""

from __future__ import annotations

from typing import Any

from tests.fakes import openai_api
from tests.fakes.server import Answer, Headers, Seen

WRONG_KEY = "azure-wrong"
REQUEST_ID = "8c1f0f8e-5f3a-4a4e-9f0b-2a7d3c1b6e55"
DEPLOYMENTS = ("gpt-4o-deploy", "embedding-deploy")

_SAFE = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
_PROMPT_RESULTS = [
    {"prompt_index": 0, "content_filter_results": {**_SAFE, "jailbreak": {"filtered": False, "detected": False}}}
]
_COMMON: Headers = (
    ("apim-request-id", REQUEST_ID),
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("x-content-type-options", "nosniff"),
    ("x-ms-region", "Sweden Central"),
    ("x-ms-deployment-name", "gpt-4o-deploy"),
    ("x-ratelimit-limit-requests", "100"),
    ("x-ratelimit-limit-tokens", "100000"),
    ("x-ratelimit-remaining-requests", "99"),
    ("x-ratelimit-remaining-tokens", "99990"),
    ("azureml-model-session", "d156-20260610052148"),
    ("x-accel-buffering", "no"),
    ("x-ms-rai-invoked", "true"),
    ("x-request-id", "f2b4a1d8-0c1e-4b7b-8a55-0d7b8f0e2c11"),
    ("date", "Tue, 17 Nov 2026 08:30:11 GMT"),
)


def answer(seen: Seen, error: int | None) -> Answer:
    """The fake's whole API: one resource."""
    if error is not None:
        return _demanded(error)
    bearer = (seen.header("authorization") or "").removeprefix("Bearer ")
    if (seen.header("api-key") or bearer) in ("", WRONG_KEY):
        return _demanded(401)
    if seen.path.startswith("/openai/v1/"):
        return _call(seen, seen.path.removeprefix("/openai/v1"))
    if "api-version" not in seen.parameters:
        return failure(404, {"code": "404", "message": "Resource not found"})
    if seen.path.startswith("/openai/deployments/"):
        deployment, _, rest = seen.path.removeprefix("/openai/deployments/").partition("/")
        if deployment not in DEPLOYMENTS:
            return _demanded(404)
        return _call(seen, "/" + rest)
    return _call(seen, seen.path.removeprefix("/openai"))


def failure(status: int, error: dict[str, Any], extra: Headers = ()) -> Answer:
    body = openai_api.compact({"error": error}).encode()
    return Answer(status, (("content-type", "application/json"), *_COMMON, *extra), body)


def _call(seen: Seen, path: str) -> Answer:
    if seen.method == "GET" and path == "/models":
        data = [{"id": "gpt-4o-2024-08-06", "object": "model", "status": "succeeded", "created_at": 1_721_172_741}]
        return _own(openai_api.indented({"data": data, "object": "list"}))
    if seen.method == "POST" and path == "/embeddings":
        return _own(openai_api.embeddings(seen))
    if seen.method == "POST" and path == "/chat/completions":
        return _chat(seen)
    if seen.method == "POST" and path in ("/responses", "/completions"):
        return _own(openai_api.text_call(path, {"model": "gpt-4o", **seen.json()}))
    return failure(404, {"code": "404", "message": "Resource not found"})


def _chat(seen: Seen) -> Answer:
    asked = {"model": "gpt-4o", **seen.json()}
    if not asked.get("stream"):
        completion = openai_api.chat_completion(asked)
        for choice in completion["choices"]:
            choice["content_filter_results"] = _SAFE
        completion["prompt_filter_results"] = _PROMPT_RESULTS
        body = openai_api.compact(completion).encode()
        return Answer(200, (("content-type", "application/json"), *_COMMON), body)
    wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
    opening = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": _PROMPT_RESULTS,
        **({"usage": None} if wants_usage else {}),
    }
    chunks = openai_api.chat_chunks(asked, with_usage=wants_usage)
    for chunk in chunks:
        for choice in chunk["choices"]:
            choice["content_filter_results"] = _SAFE if choice["delta"].get("content") else {}
    return _own(openai_api.events(opening, *chunks))


def _own(answer: Answer) -> Answer:
    """OpenAI's answer under Azure's headers."""
    kind = next(value for name, value in answer.headers if name == "content-type")
    return Answer(answer.status, (("content-type", kind), *_COMMON), answer.body, answer.events)


def _demanded(status: int) -> Answer:
    if status == 401:
        message = "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."  # noqa: E501
        return failure(401, {"code": "401", "message": message})
    if status == 404:
        message = "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."  # noqa: E501
        return failure(404, {"code": "DeploymentNotFound", "message": message})
    if status == 429:
        message = "Requests to the ChatCompletions_Create Operation have exceeded call rate limit."
        return failure(429, {"code": "429", "message": message}, (("retry-after", "3"), ("retry-after-ms", "3000")))
    message = "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    filtered = {**_SAFE, "sexual": {"filtered": True, "severity": "high"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": filtered}
    error = {"message": message, "type": None, "param": "prompt", "code": "content_filter", "status": 400}
    return failure(400, {**error, "innererror": inner})
