"""`docs/api.md` names every route, parameter and field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from pydantic import BaseModel

from gatehouse.auth.roles import Permission
from gatehouse.collector.feed import KEPT, LISTENERS
from gatehouse.control import (
    accounts,
    audit,
    credentials,
    entrance,
    events,
    founding,
    issued,
    issuers,
    keycompat,
    keys,
    limits,
    minting,
    people,
    projects,
    recognition,
    sealing,
    sso,
    tenants,
    upkeep,
)
from gatehouse.control.analytics import LogParameters, SeriesParameters
from gatehouse.control.answers import ErrorBody
from gatehouse.control.explain import ExplainParameters
from gatehouse.control.health import Health
from gatehouse.control.notifying import EVENTS
from gatehouse.control.parameters import MEDIA_TYPES, Body
from gatehouse.control.parquet import ROWS
from gatehouse.control.permissions import TABLE
from gatehouse.control.traces import CallParameters, TraceParameters
from gatehouse.store import figures, logs
from gatehouse.store.directory.views import Credential, Issuer, Limit, Project, User
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


def test_signing_in_people_and_tenants_are_documented() -> None:
    """Every route with its permission, every field of a body and of an answer."""
    for title, modules in (
        ("Signing in", (entrance, issued, sso)),
        ("People", (people,)),
        ("Tenants", (tenants,)),
    ):
        text = _section(title)
        for module in modules:
            for (method, path), (status, answered) in module.ANSWERS.items():
                [row] = [line for line in text.splitlines() if line.startswith(f"| `{method} {path}` |")][:1]
                assert f" {status}" in row
                rule = TABLE[method, path]
                assert not isinstance(rule, Permission) or f"`{rule}`" in row
                assert all(f"`{name}`" in text for name in getattr(answered, "__struct_fields__", ()))
            bodies = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Body)]
            fields = {name for body in bodies for name in body.model_fields}
            assert not [name for name in fields if f"`{name}`" not in text]
    assert _first_cells(_section("People").split("A user:")[1]) == set(User.__struct_fields__)


def test_what_is_on_record_of_signing_in_is_documented() -> None:
    page = DOCUMENT.with_name("access.md").read_text().partition("### On record")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([a-z]+\.[a-z_]+)`", page))
    modules = (accounts, entrance, founding, issued, people, recognition, sso, tenants)
    texts = [Path(module.__file__ or "").read_text() for module in modules]
    assert told == {
        name for text in texts for name in re.findall(r'"((?:auth|session|token|user|tenant|project)\.[a-z_]+)"', text)
    }


@pytest.mark.parametrize(
    ("title", "module", "view", "bodies"),
    [
        ("Projects", projects, Project, (projects.ProjectBody, projects.ProjectUpdate, projects.BindingBody)),
        ("Credentials", credentials, Credential, (credentials.CredentialBody, credentials.CredentialUpdate)),
        ("Gateway keys", keys, keys.ShownKey, (minting.KeyBody, minting.KeyUpdate, keys.RotateBody)),
        ("Gateway keys", keycompat, None, (keycompat.GatewayKeyBody, keycompat.ServiceKeyBody)),
        ("Limits", limits, Limit, (limits.LimitBody, limits.LimitUpdate)),
        ("Issuers", issuers, Issuer, (issuers.IssuerBody, issuers.IssuerUpdate)),
        ("Audit", audit, None, (audit.AuditParameters,)),
        ("Events", events, None, (events.EventParameters, events.WebhookBody)),
        ("Master keys", sealing, None, ()),
    ],
)
def test_what_is_administered_is_documented(
    title: str, module: Any, view: type[msgspec.Struct] | None, bodies: tuple[type[BaseModel], ...]
) -> None:
    """Every route with its permission, every field of a body and of an answer."""
    text = _section(title)
    for (method, path), (status, _) in module.ANSWERS.items():
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{method} {path}` |")]
        assert f" {status}:" in row
        rule = TABLE[method, path]
        assert all(f"`{name}`" in row for name in (rule if isinstance(rule, tuple) else (rule,)) if name != "operator")
    assert not [name for body in bodies for name in body.model_fields if f"`{name}`" not in text]
    if view is not None:
        shown = {each for each in view.__struct_fields__ if f"| `{each}`" not in text and f", `{each}`" not in text}
        assert shown == set()


def test_every_event_is_documented() -> None:
    told = set(re.findall(r"`((?:limit|credential|issuer)\.\w+)`", _section("Events")))
    assert told == set(EVENTS)


def test_every_action_is_documented() -> None:
    modules = (projects, credentials, minting, keys, limits, issuers, events, sealing, upkeep)
    texts = [Path(module.__file__ or "").read_text() for module in modules]
    kinds = "project|credential|key|limit|issuer|webhook|secrets"
    written = {name for text in texts for name in re.findall(rf'"((?:{kinds})\.[a-z_]+)"', text)}
    documented = _section("Audit") + _section("Events")
    assert not {name for name in written if f"`{name}`" not in documented}
