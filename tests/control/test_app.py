"""The API's description of itself, and its errors."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gatehouse import errors
from gatehouse.control.health import Health
from gatehouse.store.rows import Batch
from tests.control.serving import api, well
from tests.store.samples import call_id, concluded, decided, opened


def _document(data: Path) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        async with api(data) as client:
            response = await client.get("/api/v1/openapi.json")
            assert response.status_code == 200
            found: dict[str, Any] = response.json()
            return found

    return asyncio.run(run())


def test_the_description_is_complete(tmp_path: Path) -> None:
    document = _document(tmp_path)
    assert document["openapi"].startswith("3.1")
    figures = ("usage", "cost", "latency", "errors", "models", "keys", "summary", "explain", "logs", "stats")
    analytics = {f"/api/v1/analytics/{name}" for name in figures}
    assert set(document["paths"]) == {"/health", "/api/v1/traces", "/api/v1/traces/{id}", "/api/v1/live", *analytics}
    schemas = document["components"]["schemas"]
    assert set(re.findall(r'"#/components/schemas/(\w+)"', msgspec.json.encode(document).decode())) <= set(schemas)
    assert not [name for name in schemas if "ValidationError" in name]
    for path, methods in document["paths"].items():
        for method in methods.values():
            assert {"200", "400", "401", "403", "404", "503"} == set(method["responses"]), path
    names = {parameter["name"] for parameter in document["paths"]["/api/v1/traces"]["get"]["parameters"]}
    assert {"limit", "cursor", "provider", "model", "status", "outcome", "route", "key", "project", "stream"} <= names
    assert {"min_latency_ms", "since", "until", "code", "operation", "user", "trace"} <= names


def test_answers_have_the_fields_described(tmp_path: Path) -> None:
    name = call_id()

    async def run() -> dict[str, dict[str, Any]]:
        async with opened(tmp_path) as (writer, _):
            await writer.apply(Batch((decided(name),), (concluded(name),)))
        async with api(tmp_path) as client:
            paths = {"TracePage": "/api/v1/traces", "Trace": f"/api/v1/traces/{name}", "Health": "/health"}
            for figures in ("Usage", "Cost", "Latency", "Error", "Model", "Key"):
                route = {"Error": "errors", "Model": "models", "Key": "keys"}.get(figures, figures.lower())
                paths[f"{figures}Figures"] = f"/api/v1/analytics/{route}?from=2025-11-01T00:00:00Z"
            paths |= {"Summary": "/api/v1/analytics/summary", "LogPage": "/api/v1/analytics/logs"}
            paths["Stats"] = "/api/v1/analytics/stats"
            return {schema: (await client.get(path)).json() for schema, path in paths.items()}

    answers = asyncio.run(run())
    schemas = _document(tmp_path)["components"]["schemas"]
    answers["TraceSummary"] = answers["TracePage"]["items"][0]
    answers["Span"] = answers["Trace"]["spans"][0]
    for figures in ("Usage", "Cost", "Latency", "Error", "Model", "Key"):
        answers[f"{figures}Row"] = answers[f"{figures}Figures"]["items"][0]
    answers["Distribution"] = answers["LatencyRow"]["duration"]
    answers["LogItem"] = answers["LogPage"]["items"][0]
    for schema, found in answers.items():
        assert set(found) == set(schemas[schema]["properties"]), schema
        assert set(schemas[schema]["required"]) == set(found), schema


def test_a_bug_is_a_500_in_the_apis_shape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Health:
        raise RuntimeError("a secret detail")

    async def run() -> None:
        async with api(tmp_path, broken) as client:
            response = await client.get("/health")
            assert response.status_code == errors.INTERNAL.status
            assert set(response.json()) == {"detail", "code", "retry_after", "errors"}
            assert "secret" not in response.text
            assert well().status == "healthy"

    asyncio.run(run())
    assert "a secret detail" in caplog.text
