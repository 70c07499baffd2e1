"""`docs/api.md` names every route, parameter and field."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from gatehouse.control.answers import ErrorBody
from gatehouse.control.health import Health
from gatehouse.control.traces import TraceParameters
from gatehouse.store.views import Span, Tokens, TraceSummary

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"


def _section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def _first_cells(text: str) -> set[str]:
    cells = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)}


def test_every_parameter_and_field_of_calls_is_documented() -> None:
    parameters, items = _section("GET /api/v1/traces").split("Each item:")
    assert _first_cells(parameters) == set(TraceParameters.model_fields)
    assert _first_cells(items) == set(TraceSummary.__struct_fields__)
    assert all(f"`{name}`" in items for name in Tokens.__struct_fields__)
    assert _first_cells(_section("GET /api/v1/traces/{id}")) == set(Span.__struct_fields__)


def test_every_field_of_health_and_errors_is_documented() -> None:
    fields: set[str] = set()
    for field in msgspec.structs.fields(Health):
        inner = getattr(field.type, "__struct_fields__", None)
        fields |= {f"{field.name}.{name}" for name in inner} if inner else {field.name}
    assert _first_cells(_section("GET /health")) == fields
    assert _first_cells(_section("Errors")) == set(ErrorBody.__struct_fields__)


def test_every_route_has_its_section() -> None:
    for path in ("/health", "/api/v1/traces", "/api/v1/traces/{id}", "/api/v1/openapi.json"):
        assert _section(f"GET {path}")
