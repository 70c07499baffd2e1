"""What `apply` would do: names are identity, the second time nothing, nothing is taken away unless asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gatehouse.cli import declared
from gatehouse.cli.export import exported, unnamed, yaml
from gatehouse.cli.planning import plan
from gatehouse.cli.steps import Plan, Ref, State
from gatehouse.errors import ConfigError
from gatehouse.store.directory import views

TIME = "2026-11-21T08:00:00.000000Z"
USER = "usr_1"


def project(name: str, **fields: Any) -> dict[str, Any]:
    made = views.Project(f"prj_{name}", "u", name, "", "", "", None, [], disabled=False, created_at=TIME)
    return {**msgspec.to_builtins(made), **fields}


def credential(name: str, **fields: Any) -> dict[str, Any]:
    fixed: dict[str, Any] = {
        "id": f"crd_{name}",
        "name": name,
        "provider": "openai",
        "origin": "https://api.openai.com",
        "kind": "api_key",
        "last4": "cdef",
        "settings": {},
        "weight": 1,
        "test": False,
        "exclusive": None,
        "rotate_every_days": None,
        "rotate_hook": None,
        "retiring_at": None,
        "disabled": False,
    }
    return {**dict.fromkeys(views.Credential.__struct_fields__), **fixed, **fields}


def key(name: str, of: str = "web", **fields: Any) -> dict[str, Any]:
    fixed: dict[str, Any] = {
        "id": f"key_{name}",
        "name": name,
        "project": f"prj_{of}",
        "environment": "live",
        "scopes": ["chat"],
        "models": [],
        "providers": [],
        "addresses": [],
        "counts_as": f"key_{name}",
    }
    return {**dict.fromkeys(views.Key.__struct_fields__), **fixed, **fields}


def limit(number: int, scope: str, on: str, measure: str, window: str, cap: int, **fields: Any) -> dict[str, Any]:
    made = {"id": f"lim_{number}", "scope": scope, "scope_id": on, "measure": measure, "window": window, "cap": cap}
    terms = {"hard": True, "at_cap": "reject", "on_unknown": "bound", "when_down": None, "assumed": None}
    return {**made, **terms, "max_reserved_share": 25, **fields}


def there(**parts: Any) -> State:
    kept = {"projects": (), "credentials": (), "keys": (), "limits": (), "users": {USER: "ann@example.com"}, **parts}
    return State(**kept)


def planned(text: str, state: State, *, prune: bool = False) -> Plan:
    return plan(declared.read(text, "f.yaml").document, state, prune=prune)


def said(text: str, state: State, *, prune: bool = False) -> list[str]:
    found = planned(text, state, prune=prune)
    assert not found.problems
    return [step.says for step in found.steps]


FILE = """
projects:
  - name: Web
    team: payments
    providers:
      - {provider: openai, credential: main, weight: 2}
    limits:
      - spend: 50usd/month
        at_cap: clamp
credentials:
  - name: main
    provider: openai
    secret: {env: MAIN_KEY}
    exclusive: Web
keys:
  - name: ci
    project: web
    user: Ann@example.com
    expires_at: 2027-01-31
    disabled: true
    limits:
      - requests: 60/minute
limits:
  - {on: tenant, concurrency: 40}
  - {on: model gpt-4o, tokens: 1M/day, hard: false}
  - {on: identity bob@example.com, concurrency: 1}
"""
STATE = there(
    projects=[
        project("default", id="default"),
        project("web", team="payments", bindings=[{"provider": "openai", "credential": "crd_main", "weight": 2}]),
    ],
    credentials=[credential("main", exclusive="prj_web")],
    keys=[key("ci", user=USER, expires_at="2027-01-31T00:00:00.000000Z", disabled_at=TIME)],
    limits=[
        limit(1, "project", "prj_web", "spend", "month", 50 * 10**9, at_cap="clamp"),
        limit(2, "key", "key_ci", "requests", "minute", 60),
        limit(3, "tenant", "default", "concurrency", "now", 40),
        limit(4, "model", "gpt-4o", "tokens", "day", 10**6, hard=False),
        limit(5, "user", "bob@example.com", "concurrency", "now", 1),
    ],
)


def test_all_is_new() -> None:
    found = planned(FILE, there())
    assert not found.problems
    assert [step.says for step in found.steps] == [
        "+ project Web",
        "+ credential main",
        "+ project Web uses openai by main (weight 2)",
        "+ key web/ci",
        "~ key web/ci: disabled",
        "+ limit on project Web: spend 50usd/month",
        "+ limit on tenant: concurrency 40",
        "+ limit on model gpt-4o: tokens 1000000/day (soft)",
        "+ limit on identity bob@example.com: concurrency 1",
    ]
    by = {step.says: step for step in found.steps}
    made = by["+ key web/ci"]
    assert (made.method, made.path, made.makes) == ("POST", ("/api/v1/keys",), Ref("key", "web/ci"))
    assert made.body is not None
    assert made.body["project"] == Ref("project", "web") and made.body["user"] == USER
    assert made.body["expires_at"] == "2027-01-31T00:00:00.000000Z" and "disabled" not in made.body
    assert [terms["cap"] for terms in made.body["limits"]] == [60]
    stored = by["+ credential main"]
    assert stored.body is not None and stored.body["exclusive"] == Ref("project", "web")
    assert "secret" not in stored.body and stored.secret is not None and stored.secret.env == "MAIN_KEY"
    assert by["+ limit on project Web: spend 50usd/month"].body == {
        "scope": "project",
        "scope_id": Ref("project", "web"),
        "measure": "spend",
        "window": "month",
        "cap": 50 * 10**9,
        "hard": True,
        "at_cap": "clamp",
        "on_unknown": "bound",
        "when_down": None,
        "assumed": None,
        "max_reserved_share": 25,
    }


@pytest.mark.parametrize("prune", [False, True])
def test_what_is_so_already_needs_no_step(prune: bool) -> None:
    assert said(FILE, STATE, prune=prune) == []


def test_what_is_exported_is_what_there_is() -> None:
    text = "\n".join(yaml(exported(STATE)))
    assert said(text, STATE, prune=True) == [] and list(unnamed(STATE)) == []
    again = planned(text, there())
    assert len(again.steps) == 10 and not again.problems
    assert "gth_" not in text and "cdef" not in text and "{env: CREDENTIAL_MAIN}" in text


NASTY = [
    "no",
    "null",
    "12",
    "0o17",
    "1e3",
    "a: b",
    "- x",
    "#x",
    "*a",
    "'",
    '"',
    "ü\u2028x",
    "",
    " x ",
    "x:",
    "a\tb",
    "~",
    "Zoë 🦊 東京",
    'a"b\\c',
    "\U000e0001x",
]


@pytest.mark.parametrize("text", NASTY)
def test_any_text_comes_back_from_the_export(text: str) -> None:
    lines = "\n".join(yaml({"keys": [{"name": "x", "owner": text, "scopes": [text]}], "projects": []}))
    (read,) = list(declared.read(lines, "f").document.keys or ())
    assert (read.owner, read.scopes) == (text, [text])


def test_what_changed_is_changed() -> None:
    state = STATE._replace(
        projects=[STATE.projects[0], {**STATE.projects[1], "team": "", "bindings": []}],
        credentials=[credential("main", exclusive=None, provider="openai")],
        keys=[{**STATE.keys[0], "user": None}],
        limits=[{**STATE.limits[0], "cap": 1}, {**STATE.limits[1], "hard": False}, *STATE.limits[2:]],
    )
    found = planned(FILE, state)
    assert [(step.method, step.says) for step in found.steps] == [
        ("PATCH", "~ project Web: team none → payments"),
        ("PATCH", "~ credential main: exclusive none → web"),
        ("PUT", "+ project Web uses openai by main (weight 2)"),
        ("PATCH", "~ key web/ci: user none → usr_1"),
        ("PATCH", "~ limit on project Web: spend 50usd/month (cap)"),
        ("PATCH", "~ limit on key web/ci: requests 60/minute (hard)"),
    ]
    assert [step.body for step in found.steps][-1] == {"hard": True}


def test_a_hard_and_a_soft_limit_on_the_same_are_two() -> None:
    text = "limits: [{on: tenant, spend: 10usd/day, hard: false}, {on: tenant, spend: 20usd/day}]"
    hard = limit(1, "tenant", "default", "spend", "day", 20 * 10**9)
    assert said(text, there(limits=[hard]), prune=True) == ["+ limit on tenant: spend 10usd/day (soft)"]
    soft = limit(2, "tenant", "default", "spend", "day", 10 * 10**9, hard=False)
    assert said(text, there(limits=[soft, hard]), prune=True) == []


def test_two_limits_that_count_the_same_stay_what_they_are() -> None:
    """What `export` printed is what there is, in whatever order the API lists it."""
    text = "limits: [{on: tenant, requests: 5/minute}, {on: tenant, requests: 7/minute}]"
    five, seven = (limit(cap, "tenant", "default", "requests", "minute", cap) for cap in (5, 7))
    assert said(text, there(limits=[five, seven])) == said(text, there(limits=[seven, five])) == []
    assert said(text, there(limits=[seven])) == ["+ limit on tenant: requests 5/minute"]
    six = {**five, "cap": 6}
    assert said(text, there(limits=[six, seven])) == ["~ limit on tenant: requests 5/minute (cap)"]


def test_nothing_is_taken_away_unless_asked_and_then_in_the_files_sections_alone() -> None:
    text = "projects: [{name: web}]\nlimits: []"
    assert said(text, STATE) == []
    # The project's own lists are not in the file, and neither are keys and credentials.
    assert said(text, STATE, prune=True) == [
        "- limit on tenant: concurrency 40",
        "- limit on model gpt-4o: tokens 1000000/day (soft)",
        "- limit on user bob@example.com: concurrency 1",
    ]
    text = "projects: [{name: web, providers: [], limits: []}]\ncredentials: []\nkeys: []"
    assert said(text, STATE, prune=True) == [
        "- limit on project web: spend 50usd/month",
        "- key web/ci",
        "- project web uses openai by main",
        "- credential main",
    ]
    assert said("projects: []\nkeys: []", STATE, prune=True) == [
        "- key web/ci",
        "- project web uses openai by main",
        "- project web",
    ]


def test_what_a_key_was_rotated_from_stays_and_goes_with_it() -> None:
    before = key("old", counts_as="key_ci", succeeded_by="key_ci")
    state = STATE._replace(rotated=[before])
    assert said("keys: [{name: ci, project: web}]", state, prune=True) == []
    assert said("keys: []", state, prune=True) == ["- key web/ci", "- key web/old"]


@pytest.mark.parametrize(
    ("text", "prune", "path", "says"),
    [
        ("projects: []", True, "projects", "web is not in the file and has keys"),
        ("keys: [{name: a, project: nope}]", False, "keys[0].project", "no project nope"),
        ("keys: [{name: a, user: bob@example.com}]", False, "keys[0].user", "no user bob@example.com"),
        ("keys: [{name: a, expires_at: soon}]", False, "keys[0].expires_at", "no RFC 3339"),
        ("keys: [{name: ci, project: web, environment: test}]", False, "keys[0].environment", "never changes"),
        ("credentials: [{name: b, provider: openai}]", False, "credentials[0]", "is new: say by `secret`"),
        ("credentials: [{name: main, provider: groq}]", False, "credentials[0].provider", "never changes"),
        ("projects: [{name: web, providers: [{provider: groq, credential: main}]}]", False,
         "projects[0].providers[0].provider", "is for openai"),
        ("projects: [{name: web, providers: [{provider: openai, credential: x}]}]", False,
         "projects[0].providers[0].credential", "no credential x"),
        ("projects: [{name: web, providers: [{provider: openai, credential: main}]}]\ncredentials: []", True,
         "projects[0].providers[0].credential", "would be deleted"),
        ("limits: [{on: user bob@example.com, concurrency: 1}]", False, "limits[0].on", "no user"),
        ("limits: [{on: credential x, concurrency: 1}]", False, "limits[0].on", "no credential"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_found_before_the_first_step(text: str, prune: bool, path: str, says: str) -> None:
    found = planned(text, STATE, prune=prune)
    assert any(where == path and says in what for where, what in found.problems), found.problems


def test_two_keys_of_one_name_are_nobodys() -> None:
    state = STATE._replace(keys=[key("ci"), key("ci", id="key_2"), {**key("x"), "name": None}])
    found = planned("keys: [{name: ci, project: web}]", state)
    assert found.problems == [("keys[0]", "2 keys of project web are called ci: rename or revoke all but one")]
    assert len(list(unnamed(state))) == 3
    # Nor are they taken away for not being in a file that they cannot be in.
    assert len(planned("keys: []", state, prune=True).problems) == 1
    only = STATE._replace(keys=[{**key("x"), "name": None}])
    assert said("keys: []", only, prune=True) == []
    assert "has keys" in planned("projects: []\nkeys: []", only, prune=True).problems[0][1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys:\n  - name: a\n    limts: []", "f.yaml:2: keys[0]: Object contains unknown field `limts`"),
        ("keys:\n  - name: a\n    limits:\n      - requests: 60", "f.yaml:4: keys[0].limits[0]"),
        ("keys:\n  - name: a\n    limits:\n      - {requests: 6/day, tokens: 6/day}", "exactly one of requests"),
        ("keys:\n  - name: a\n  - name: a", "f.yaml:3: keys[1]: a of project default is here twice"),
        ("projects:\n  - name: Web\n  - name: web", "is here twice"),
        (
            "credentials:\n  - {name: a, provider: b, secret: sk-123}",
            "f.yaml:2: credentials[0].secret: Expected `object`",
        ),
        ("credentials:\n  - {name: a, provider: b, secret: {}}", "names exactly one of env, file"),
        ("limits:\n  - {on: project x, concurrency: 1}", "f.yaml:2: limits[0].on"),
        ("version: 2", "version"),
        ("keys: &a [{name: b}]\nprojects: *a", "refers to another place"),
        ("- a", "must be a mapping of sections"),
    ],
)
def test_a_file_that_is_none(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        declared.read(text, "f.yaml")
    assert says in str(caught.value) and "sk-123" not in str(caught.value)
