"""`docs/api.md` names every route, parameter and field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from pydantic import BaseModel

from gatehouse.collector.feed import KEPT, LISTENERS
from gatehouse.control.analytics import LogParameters, SeriesParameters
from gatehouse.control.answers import ErrorBody
from gatehouse.control.explain import ExplainParameters
from gatehouse.control.health import Health
from gatehouse.control.parameters import MEDIA_TYPES
from gatehouse.control.parquet import ROWS
from gatehouse.control.traces import CallParameters, TraceParameters
from gatehouse.store import figures, logs
from gatehouse.store.explain import BASELINES, Contribution, Explanation, Side, State
from gatehouse.store.statements import DIMENSIONS
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


def _names(parameters: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in parameters.model_fields.items()}


@pytest.mark.parametrize(
    ("route", "row"),
    [
        ("usage", figures.UsageRow),
        ("cost", figures.CostRow),
        ("latency", figures.LatencyRow),
        ("errors", figures.ErrorRow),
        ("models", figures.ModelRow),
        ("keys", figures.KeyRow),
        ("summary", figures.Head),
        ("logs", logs.LogItem),
        ("stats", logs.Stats),
    ],
)
def test_every_figure_is_documented(route: str, row: type[msgspec.Struct]) -> None:
    fields = _section(f"GET /api/v1/analytics/{route}")
    if route == "usage":
        parameters, fields = fields.split("Answer:")
        assert _first_cells(parameters) == _names(SeriesParameters)
        assert ", ".join(DIMENSIONS) in parameters
    if route == "logs":
        parameters, fields = fields.split("Answer:")
        assert _first_cells(parameters) == _names(LogParameters)
    assert _first_cells(fields) == set(row.__struct_fields__)


def test_the_parts_of_figures_are_documented() -> None:
    parts = [("latency", figures.Distribution), ("stats", logs.TokenTotals), ("stats", logs.ViolationCounts)]
    for route, struct in parts:
        assert all(f"`{name}`" in _section(f"GET /api/v1/analytics/{route}") for name in struct.__struct_fields__)
    assert set(figures.Change.__struct_fields__) == set(figures.Head.__struct_fields__)


def test_every_figure_of_an_explanation_is_documented() -> None:
    """O15."""
    parameters, rest = _section("GET /api/v1/analytics/explain").split("Answer:")
    side, item = rest.split("Each item is")
    assert _first_cells(parameters) == _names(ExplainParameters)
    assert _first_cells(side) == set(Side.__struct_fields__)
    assert _first_cells(item) == set(Contribution.__struct_fields__)
    names = {field.encode_name for field in msgspec.structs.fields(Explanation)}
    assert all(f"`{name}`" in rest for name in names)
    assert all(f"`{state}`" in item for state in get_args(State))
    assert all(f"`{name}`" in parameters for name in BASELINES)


def test_the_live_feed_is_documented() -> None:
    """P8."""
    text = _section("GET /api/v1/live")
    only_there = set(TraceParameters.model_fields) - set(CallParameters.model_fields)
    assert all(f"`{name}`" in text for name in only_there)
    assert _first_cells(text) == {"call", "lagged"}
    assert f"last\n{KEPT:,} calls" in text and f"At most {LISTENERS} may listen" in text


def test_every_form_is_documented() -> None:
    text = _section("Export")
    assert all(media.partition(";")[0] in text for media in MEDIA_TYPES.values())
    assert f"{ROWS:,} rows" in text


def test_every_route_has_its_section() -> None:
    for path in ("/health", "/metrics", "/api/v1/traces", "/api/v1/traces/{id}", "/api/v1/openapi.json"):
        assert _section(f"GET {path}")
