"""The endpoint table: what a stored credential serves.

The walks read the installed SDKs' source: every method and path they can send must have a row, so that a release with
new endpoints needs a person to look.
"""

from __future__ import annotations

import ast
import functools
import re
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import anthropic
import google.genai
import openai
import pytest

from gatehouse.auth import scopes as key_scopes
from gatehouse.config.settings import Settings
from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Dialect
from gatehouse.providers.entries import entries
from gatehouse.routing import scope_rows
from gatehouse.routing.endpoints import anthropic_endpoint, google_verb, openai_endpoint
from gatehouse.routing.scopes import Access, Cost, Scope, access, below_version, look_up
from gatehouse.routing.table import Router

Sent = tuple[str, str]
"""A method and a path, `{}` for what varies."""

VERBS: Final = {"_get", "_post", "_put", "_patch", "_delete", "_get_api_list"}


def _templated(node: ast.expr) -> str | None:
    """The path an expression gives, placeholders as `{}`."""
    match node:
        case ast.Constant(value=str() as text):
            return re.sub(r"\{[^}]*\}", "{}", text)
        case ast.JoinedStr(values=parts):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.Call(func=ast.Name(id="path_template"), args=[first, *_]):
            return _templated(first)
        case ast.Call(func=ast.Attribute(attr="format_map", value=inner)):
            return _templated(inner)
        case ast.IfExp(body=body):
            return _templated(body)
    return None


def _resources(package: Path) -> Iterator[tuple[Sent, bool]]:
    """What the resources of a Stainless-made SDK send, and whether the path is known."""
    for file in sorted((package / "resources").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS):
                continue
            method = node.func.attr.removeprefix("_").upper()
            if method == "GET_API_LIST":
                named = [word.value for word in node.keywords if word.arg == "method"]
                method = str(named[0].value).upper() if named and isinstance(named[0], ast.Constant) else "GET"
            path = _templated(node.args[0])
            if path is None:
                yield (method, ast.unparse(node.args[0])), False
            else:
                yield (method, path.partition("?")[0]), True


GENAI_NAMES: Final = {
    "caches": ("cachedContents/{}",),
    "models": ("models/{}", "tunedModels/{}"),
    "tunings": ("tuningJobs/{}", "tunedModels/{}"),
    "documents": ("fileSearchStores/{}/documents/{}",),
    "file_search_stores": ("fileSearchStores/{}",),
    "operations": (
        "operations/{}",
        "models/{}/operations/{}",
        "tunedModels/{}/operations/{}",
        "batches/{}",
        "fileSearchStores/{}/operations/{}",
        "fileSearchStores/{}/upload/operations/{}",
    ),
}
"""What `{name}` and its like stand for in each module of google-genai, by the docstrings and `types`."""
GENAI_MODELS: Final = ("models/{}", "projects/{}/locations/{}/publishers/google/models/{}")
GENAI_CALLS: Final = {"request", "async_request", "request_streamed", "async_request_streamed", "download_file"}


def _genai() -> Iterator[Sent]:
    package = Path(google.genai.__file__).parent
    for file in sorted(package.glob("*.py")):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _genai_function(file.stem, function)
    for file in sorted((package / "_gaos").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            words = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            method, path = words.get("method"), words.get("path")
            if isinstance(method, ast.Constant) and isinstance(path, ast.Constant) and "api_version" in str(path.value):
                yield str(method.value), re.sub(r"\{[^}]*\}", "{}", str(path.value).replace("/{api_version}", ""))


def _genai_function(module: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Sent]:
    """What a method of the SDK sends: each path it may build, by each method it may use."""
    methods, paths = set(), set()
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "download_file":
                methods.add("GET")
            elif node.func.attr in GENAI_CALLS and node.args and isinstance(node.args[0], ast.Constant):
                methods.add(str(node.args[0].value).upper())
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["path"]:
            value = node.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
                value = value.func.value
            text = value.value if isinstance(value, ast.Constant) else _templated(value)
            if isinstance(text, str) and not text.startswith(("{}?", "/{}")):
                paths.add(text.partition("?")[0])
    for method in methods:
        for path in paths:
            for spelt in _spelt(module, path):
                yield method, "/" + re.sub(r"\{[^}]*\}", "{}", spelt)


def _spelt(module: str, path: str) -> Iterator[str]:
    path = path.replace("upload/{{api_version}}/", "upload/").replace("upload/{api_version}/", "upload/")
    path = path.replace("{file_search_store_name}", "fileSearchStores/{}").replace("{resourceName}", "models/{}")
    path = path.replace("{parent}/documents", "fileSearchStores/{}/documents")
    path = path.replace("{parent}/tuningJobs", "projects/{}/locations/{}/tuningJobs")
    if path.startswith("{model}"):
        yield from (path.replace("{model}", name) for name in (*GENAI_MODELS, "tunedModels/{}"))
    elif path == "{models_url}":
        yield from ("models", "tunedModels", "publishers/google/models")
    elif path.startswith(("{name}", "{operationName}")):
        yield from (re.sub(r"^\{\w+\}", name, path) for name in GENAI_NAMES[module])
    else:
        yield path


def _unlisted(dialect: Dialect, sent: set[Sent]) -> list[Sent]:
    return sorted({each for each in sent if look_up(dialect, each[0], each[1].replace("{}", "id-1")) is None})


@functools.cache
def _openai_found() -> frozenset[tuple[Sent, bool]]:
    # Not where the module is imported: whoever collects tests would walk them all.
    return frozenset(_resources(Path(openai.__file__).parent))


@functools.cache
def _anthropic_found() -> frozenset[tuple[Sent, bool]]:
    return frozenset(_resources(Path(anthropic.__file__).parent))


TUNED_ONLY: Final = {"embedContent", "batchEmbedContents", "batchGenerateContent", "asyncBatchEmbedContent", "predict",
                     "predictLongRunning", "computeTokens", "fetchPredictOperation"}  # fmt: skip
"""Verbs of models that Google documents for base models alone."""


def test_every_path_of_the_openai_sdk_has_a_row() -> None:
    sent = {each for each, known in _openai_found() if known}
    assert len(sent) > 250
    assert _unlisted("openai", sent) == []


def test_every_path_of_the_anthropic_sdk_has_a_row() -> None:
    sent = {(method, path.removeprefix("/v1")) for (method, path), known in _anthropic_found() if known}
    assert len(sent) > 200
    assert _unlisted("anthropic", sent) == []


def test_every_path_of_the_google_sdk_has_a_row() -> None:
    sent = set(_genai())
    assert len(sent) > 60
    unlisted = _unlisted("google", sent)
    assert [
        each
        for each in unlisted
        if not (each[1].startswith("/tunedModels/") and each[1].partition(":")[2] in TUNED_ONLY)
    ] == []


def test_paths_that_are_in_no_source_are_those_an_answer_names() -> None:
    assert {sent for sent, known in _openai_found() if not known} == set()
    assert {sent for sent, known in _anthropic_found() if not known} == {
        ("GET", "path_template(batch.results_url, message_batch_id=message_batch_id)")
    }
    assert look_up("anthropic", "GET", "/messages/batches/msgbatch_1/results") == Access("batches", "free", True)


def _rows() -> Iterator[tuple[Dialect, str, str, Access]]:
    tables: tuple[tuple[Dialect, str], ...] = (
        ("openai", scope_rows.OPENAI),
        ("anthropic", scope_rows.ANTHROPIC),
        ("google", scope_rows.GOOGLE),
    )
    for dialect, table in tables:
        for line in table.strip().splitlines():
            methods, path, *_ = line.split()
            for method in methods.split(","):
                spelt = path.replace("{}", "id-1").replace("**", "any/thing")
                found = look_up(dialect, method, spelt)
                assert found is not None, (dialect, method, path)
                yield dialect, method, spelt, found


def test_rows_are_what_they_say_and_no_row_hides_another() -> None:
    seen = set()
    for dialect, table in (
        ("openai", scope_rows.OPENAI),
        ("anthropic", scope_rows.ANTHROPIC),
        ("google", scope_rows.GOOGLE),
    ):
        for line in table.strip().splitlines():
            methods, path, scope, cost, *stored = line.split()
            assert scope in get_args(Scope)
            assert cost in get_args(Cost)
            assert stored in ([], ["stored"])
            for method in methods.split(","):
                assert (dialect, method, path) not in seen
                seen.add((dialect, method, path))
                spelt = path.replace("{}", "id-1").replace("**", "any/thing")
                assert look_up(dialect, method, spelt) == (scope, cost, bool(stored)), line  # type: ignore[arg-type]


def test_scopes_are_those_of_keys() -> None:
    assert set(get_args(Scope)) == {scope.value for scope in key_scopes.Scope}
    assert {row.scope for *_, row in _rows()} == set(get_args(Scope))


def test_what_is_metered_is_read_by_a_dialect() -> None:
    """A bound needs the output maximum that the dialect reads: an endpoint nobody reads is unbounded."""
    for dialect, method, path, row in _rows():
        if row.cost not in ("metered", "model"):
            continue
        assert method == "POST"
        if dialect == "google":
            verb = google_verb(path)[1]
            endpoint = {
                "generateContent": "generate_content",
                "streamGenerateContent": "stream_generate_content",
                "embedContent": "embed_content",
                "batchEmbedContents": "embed_content",
                "": "cached_contents",
            }[verb]
        else:
            endpoint = openai_endpoint(path, True) if dialect == "openai" else anthropic_endpoint(path, True)
        body = (
            b'{"model":"m","prompt":"","max_tokens":7,"max_output_tokens":7,"generationConfig":{"maxOutputTokens":7}}'
        )
        ask = for_endpoint(dialect, endpoint).read(body, "m")
        assert ask.model == "m"
        assert ask.max_output == 7 or ask.operation in (
            "embeddings", "moderations", "cached_contents", "image_generation",
        ), path  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "method", "path"),
    [
        ("openai", "POST", "/organization/admin_api_keys"),
        ("openai", "GET", "/organization/usage/completions"),
        ("openai", "POST", "/projects/p/roles"),
        ("openai", "POST", "/realtime/client_secrets"),
        ("openai", "POST", "/realtime/sessions"),
        ("openai", "POST", "/realtime/transcription_sessions"),
        ("openai", "POST", "/chatkit/sessions"),
        ("openai", "POST", "/vaults/v/credentials"),
        ("openai", "POST", "/webhook_endpoints/w/rotate_secret"),
        ("openai", "POST", "/fine_tuning/checkpoints/c/permissions"),
        ("anthropic", "GET", "/organizations/me"),
        ("anthropic", "POST", "/organizations/workspaces"),
        ("anthropic", "POST", "/tunnels/t/reveal_token"),
        ("anthropic", "POST", "/user_profiles/u/enrollment_url"),
        ("google", "POST", "/auth_tokens"),
        ("google", "GET", "/credentials/c"),
        ("google", "POST", "/webhooks/w:rotateSigningSecret"),
    ],
)
def test_administration_minting_and_secrets_need_the_owners_scope(dialect: Dialect, method: str, path: str) -> None:
    found = look_up(dialect, method, path)
    assert found is not None
    assert found.scope == "provider:any"


@pytest.mark.parametrize(
    ("dialect", "method", "path"),
    [
        ("openai", "POST", "/nothing"),
        ("openai", "DELETE", "/chat/completions"),
        ("openai", "PUT", "/files/f"),
        ("openai", "POST", "/chat/completions/x/messages"),
        ("openai", "GET", "/Organization/users"),
        ("openai", "GET", "/threads/RUNS/runs/x/y/z"),
        ("openai", "POST", "/threads/Runs"),
        ("openai", "POST", "/responses/Compact"),
        ("openai", "GET", ""),
        ("openai", "GET", "/"),
        ("openai", "HEAD", "/models"),
        ("anthropic", "POST", "/complete"),
        ("google", "POST", "/tunedModels/t/permissions"),
        ("google", "POST", "/tunedModels/t:transferOwnership"),
        ("google", "POST", "/models/m:unheardOf"),
        ("google", "POST", "/models/m"),
        ("google", "GET", "/projects/p/locations/us-east1/secrets"),
        ("none", "GET", "/models"),
    ],
)
def test_what_is_in_no_row_is_none(dialect: Dialect, method: str, path: str) -> None:
    assert look_up(dialect, method, path) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/openai/v1/chat/completions", "chat"),
        ("/openai/chat/completions", "chat"),
        ("/openai/v1/chat/completions/", "chat"),
        ("/openai/v1/organization/projects", "provider:any"),
        ("/openai/v1/organi%7Aation/projects", None),
        ("/openai/v1/threads/%72uns", None),
        ("/openai/v1/responses;x=1", None),
        ("/openai/v1/ft%3Agpt", None),
        ("/openai/v9/chat/completions", "chat"),
        ("/openai/v1/organization/v1/chat/completions", "provider:any"),
        ("/anthropic/messages", "chat"),
        ("/anthropic/v1/messages/batches", "batches"),
        ("/anthropic/api/oauth/token", None),
        ("/google/v1beta/models/gemini-2.5-pro:generateContent", "chat"),
        ("/google/v1beta/models/gemini-2.5-pro%3AgenerateContent", "chat"),
        ("/google/v1beta1/projects/p/locations/us-east1/publishers/google/models/g:generateContent", "chat"),
        ("/google/v1beta1/projects/p/locations/us-east1/endpoints/7:generateContent", "chat"),
        ("/google/upload/v1beta/files", "files"),
        ("/google/v1beta/openai/chat/completions", "chat"),
        ("/google/v1beta/openai/organization/users", "provider:any"),
        ("/vertex/v1/projects/p/locations/global/publishers/google/models/g:streamGenerateContent", "chat"),
        ("/vertex/v1/projects/p/locations/us-east1/publishers/anthropic/models/claude:rawPredict", "chat"),
        ("/vertex/v1/projects/p/locations/us-east1/endpoints/openapi/chat/completions", "chat"),
        ("/vertex/v1/projects/p/locations/us-east1/reasoningEngines", None),
        ("/azure/res/dep/chat/completions", "chat"),
        ("/azure/res/openai/v1/responses", "chat"),
        ("/azure/res/openai/deployments/dep/embeddings", "embeddings"),
        ("/azure/res/openai/batches", "batches"),
        ("/groq/v1/chat/completions", "chat"),
        ("/deepinfra/v1/openai/embeddings", "embeddings"),
        ("/deepseek/anthropic/v1/messages", "chat"),
        ("/perplexity/chat/completions", "chat"),
        ("/openrouter/v1/messages", "chat"),
        ("/zai/v4/chat/completions", "chat"),
        ("/openai", None),
    ],
)
def test_paths_as_they_go_upstream(path: str, expected: str | None) -> None:
    """Bases and versions of every kind of provider are stripped, and nothing else is."""
    providers = entries(Settings())
    route = Router(providers).resolve(b"POST", path, "", []).route
    assert route is not None
    found = access(providers[route.provider], route, b"POST")
    assert (None if found is None else found.scope) == expected, below_version(providers[route.provider], route)


def test_a_look_up_is_quick() -> None:
    """Once per distinct head."""
    providers = entries(Settings())
    route = Router(providers).resolve(b"POST", "/openai/v1/threads/t/runs/r/submit_tool_outputs", "", []).route
    assert route is not None
    seconds = min(timeit.repeat(lambda: access(providers["openai"], route, b"POST"), number=100, repeat=5)) / 100
    assert seconds < 100e-6
