"""Projects, credentials, keys and limits from the command line, over a real directory that no `serve` runs on."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gatehouse.cli import init
from gatehouse.cli.limit import in_use_told
from gatehouse.cli.main import run
from gatehouse.cli.options import set_up
from gatehouse.cli.report_names import naming
from gatehouse.config.paths import DataDir
from gatehouse.control.founding import Owner
from gatehouse.gateway import persisted
from gatehouse.model.limits import LimitEvent
from gatehouse.store import times
from tests.cli.conftest import Cli
from tests.cli.recording import decision, new_ids, outcome, record
from tests.control.doors import hashed

OWNER = "ann@example.com"
SECRET = "sk-planted-0123456789abcdef"
KEY = re.compile(r"gth_live_[0-9A-Za-z]{36}")


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an owner, a stored secret, and a project that uses it."""
    root = tmp_path_factory.mktemp("house") / "data"
    environ = {"GATEHOUSE_DATA": str(root)}
    setup = set_up(environ, None, None)
    setup.data.create()
    assert init.founded(setup, Owner(OWNER, hashed())) is not None
    (root / "secret").write_text(f"{SECRET}\n")
    for words in (
        ("credential", "create", "main", "--provider", "openai", "--secret-file", str(root / "secret")),
        ("project", "create", "web", "--team", "payments", "--environment", "prod"),
        ("project", "enable", "openai", "--credential", "main", "--project", "Web", "--weight", "3"),
    ):
        assert run(words, environ) == 0
    return root


@pytest.fixture
def house(cli: Cli, data: Path, furnished: Path) -> Cli:
    """The command line over a copy of it."""
    shutil.copytree(furnished, data)
    return cli


def items(house: Cli, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(house(*words, "--format", "json").out)["items"]
    return found


def test_the_next_start_does_not_begin_by_what_was_before(house: Cli, data: Path) -> None:
    """Workers of the next `serve` begin by the snapshot on disk, before control has read the directory."""

    def keys() -> list[bool]:
        found = persisted.read(DataDir(data).snapshot)
        assert found is not None
        return [each.disabled for each in found.keys.values()]

    assert house("key", "create", "ci", "--project", "web").code == 0
    assert keys() == [False]
    assert house("key", "disable", "ci").code == 0
    assert keys() == [True]
    assert house("key", "revoke", "ci").code == 0
    assert keys() == []


def test_projects(house: Cli) -> None:
    shown = house("project", "show", "WEB").out
    assert "openai by main (weight 3)" in shown and re.search(r"^base URL +/api/[0-9a-f-]{36}/v1$", shown, re.MULTILINE)
    done = house("project", "update", "web", "--name", "shop", "--own-keys", "no")
    assert done.code == 0 and re.search(r"own keys +no", done.out)
    assert house("project", "disable", "shop").out == "project shop is disabled\n"
    found = {each["name"]: each for each in items(house, "project", "list")}
    assert set(found) == {"default", "shop"} and found["shop"]["disabled"] and found["shop"]["own_keys"] is False
    done = house("project", "update", found["shop"]["id"], "--enable", "--format", "json")
    assert json.loads(done.out)["disabled"] is False
    assert house("project", "disable-provider", "openai", "--project", "shop").code == 0
    assert house("project", "delete", "shop").code == 0
    refused = [house("project", "show", "shop"), house("project", "create", "DEFAULT"), house("project", "update", "x")]
    assert [(done.code, done.err.splitlines()[-1]) for done in refused] == [
        (1, "Error: there is no project shop"),
        (2, "Error: there is a project called DEFAULT already"),
        (2, "Error: Name something to change."),
    ]


def test_credentials(house: Cli, data: Path) -> None:
    (one,) = items(house, "credential", "list", "--provider", "openai")
    assert (one["last4"], one["origin"]) == (SECRET[-4:], "https://api.openai.com")
    hook = ("--rotate-hook", "https://hook.example/x", "--rotate-every", "90d")
    done = house("credential", "update", "main", "--weight", "5", *hook, "--exclusive", "web", "--test", "yes")
    assert done.code == 0 and re.search("hook key +[0-9a-f]{64} .shown this once", done.out)
    (one,) = items(house, "credential", "list")
    assert (one["weight"], one["test"], one["rotate_every_days"]) == (5, True, 90)
    none = ("--rotate-hook", "", "--rotate-every", "0", "--exclusive", "", "--test", "no")
    assert house("credential", "update", "main", *none).code == 0
    (one,) = items(house, "credential", "list")
    assert not any((one["rotate_hook"], one["rotate_every_days"], one["exclusive"], one["test"]))
    (data / "secret").write_text("sk-planted-second-4321")
    done = house("credential", "rotate", "main", "--secret-file", str(data / "secret"))
    assert (done.code, done.out) == (0, "credential main has a new secret, …4321\n")
    assert house("credential", "disable", "main").code == 0
    assert "disabled" in house("credential", "show", "main").out
    done = house("credential", "delete", "main")
    assert done.code == 2 and "web" not in done.out
    wrong = (
        (("--kind", "aws_keys", "--secret-file", str(data / "secret")), "is a JSON object, and this is none"),
        (("--secret-file", str(data / "nothing")), "Cannot read the secret"),
        (("--provider", "nobody", "--secret-file", str(data / "secret")), "provider: no such provider is configured"),
    )
    for words, says in wrong:
        done = house("credential", "create", "x", "--provider", "openai", *words)
        assert done.code == 2 and says in done.err and "planted" not in done.err


def test_no_command_takes_a_secret_as_an_argument(house: Cli) -> None:
    for command in ("create", "rotate"):
        assert "--secret-file" in house("credential", command, "--help").out
        assert not re.search(r"--secret\s", house("credential", command, "--help").out)


def test_keys(house: Cli) -> None:
    done = house("key", "create", "ci", "--project", "web", "--user", OWNER, "--expires", "90d", "--model", "gpt-4o*")
    text = done.out.splitlines()[0]
    assert KEY.fullmatch(text) and f"export OPENAI_API_KEY={text}" in done.out.splitlines(), done.err
    assert "requests 60/minute" in done.out
    listed = house("key", "list", "--project", "web", "--user", OWNER)
    assert text not in listed.out and f"gth_live_…{text[-4:]}" in listed.out and "active" in listed.out
    caps = ("--requests", "5/day", "--spend", "1.50usd/month", "--spend", "1usd/day", "--tokens", "1k/day")
    done = house("key", "create", "two", *caps, "--concurrency", "4", "--format", "json")
    limits = {(each["measure"], each["window"], each["cap"]) for each in json.loads(done.out)["limits"]}
    assert limits == {
        ("requests", "day", 5),
        ("spend", "month", 1_500_000_000),
        ("spend", "day", 10**9),
        ("tokens", "day", 1_000),
        ("concurrency", "now", 4),
    }
    assert json.loads(house("key", "create", "three", "--no-limits", "--format", "json").out)["limits"] == []
    rotated = house("key", "rotate", "ci", "--overlap", "2h")
    assert KEY.fullmatch(rotated.out.splitlines()[0]) and text not in rotated.out
    assert sorted(each["state"] for each in _states(house, "ci")) == ["active", "until"]
    shown = house("key", "show", "ci")
    assert "requests 60/minute" in shown.out and OWNER in shown.out
    assert house("key", "update", "ci", "--model", "", "--owner", "CI", "--user", "").code == 0
    assert house("key", "disable", "ci").code == 0
    assert [each["state"] for each in _states(house, "ci")] == ["disabled", "disabled"]
    # By its name all it was rotated from goes with it.
    assert house("key", "revoke", "ci").out == "key ci is revoked\n"
    assert _states(house, "ci") == [] and len(items(house, "key", "list", "--revoked")) == 2


def _states(house: Cli, name: str) -> list[dict[str, str]]:
    rows = [line.split() for line in house("key", "list").out.splitlines()]
    found = ("active", "until", "disabled", "revoked", "expired")
    return [{"state": next(word for word in row if word in found)} for row in rows if row and row[0] == name]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--requests", "60"), "per minute, hour, day"),
        (("--scope", "nope"), "scopes: there is no scope nope"),
        (("--address", "10.0.0.0/99"), "addresses[0]: is no address or network"),
        (("--expires", "yesterday"), "neither a span"),
        (("--expires", "2020-01-01"), "expires_at: is over already"),
        (("--requests", "1/day", "--no-limits"), "--no-limits excludes limits"),
        (("--role", "king"), "role: "),
    ],
)
def test_keys_that_cannot_be(house: Cli, words: tuple[str, ...], says: str) -> None:
    done = house("key", "create", "x", *words)
    assert (done.code, done.out) == (2, "") and says in done.err


def test_two_keys_of_one_name(house: Cli) -> None:
    for _ in range(2):
        house("key", "create", "twin")
    ids = {each["id"] for each in items(house, "key", "list")}
    done = house("key", "revoke", "twin")
    assert done.code == 1 and done.err.startswith("Error: 2 keys are called twin: name one by its id (key_")
    assert house("key", "revoke", ids.pop()).code == 0
    assert house("key", "revoke", "twin").code == 0


@pytest.mark.parametrize(
    ("used", "cap", "said"),
    [
        (None, 10**9, "spend 1usd/day"),
        ({"settled": 250_000_000, "reserved": 0}, 10**9, "spend 1usd/day: 0.25usd (25 %)"),
        ({"settled": 1, "reserved": 5}, 10**9, "spend 1usd/day: 0.000000001usd (0 %), 0.000000005usd reserved"),
        ({"settled": 7 * 10**9, "reserved": 0}, 0, "spend 0usd/day: 7usd"),
    ],
)
def test_how_much_of_a_limit_is_used(used: dict[str, int] | None, cap: int, said: str) -> None:
    limit = {"measure": "spend", "window": "day", "cap": cap, "hard": True, "used": used}
    assert in_use_told(limit) == said


def test_limits(house: Cli) -> None:
    made = house("limit", "create", "project", "web", "--spend", "50usd/month", "--at-cap", "clamp", "--share", "50")
    assert made.code == 0 and "spend 50usd/month" in made.out and "project web" in made.out
    house("limit", "create", "tenant", "--concurrency", "40", "--hard", "no")
    house("limit", "create", "user", OWNER, "--tokens", "2M/day", "--when-down", "closed")
    house("limit", "create", "model", "gpt-4o", "--spend", "1usd/total", "--assume", "0.10usd")
    house("limit", "create", "credential", "main", "--requests", "5k/hour")
    listed = house("limit", "list").out
    for words in (
        "project web",
        "tenant",
        f"user {OWNER}",
        "model gpt-4o",
        "credential main",
        "2000000/day",
        "5000/hour",
    ):
        assert words in listed
    (one,) = items(house, "limit", "list", "project", "web")
    assert house("limit", "update", one["id"], "--cap", "0.75usd", "--at-cap", "reject").code == 0
    assert "spend 0.75usd/month" in house("limit", "show", one["id"]).out
    wrong = house("limit", "update", one["id"], "--cap", "5usd/day")
    assert wrong.code == 2 and "this limit is per month" in wrong.err
    assert house("limit", "disable", one["id"]).code == 0
    assert [each["hard"] for each in items(house, "limit", "list", "project", "web")] == [False]
    assert house("limit", "delete", one["id"]).code == 0 and items(house, "limit", "list", "project") == []
    house("limit", "create", "identity", "ann@sso.example", "--concurrency", "2")
    (named,) = items(house, "limit", "list", "identity", "ann@sso.example")
    assert (named["scope"], named["scope_id"]) == ("user", "ann@sso.example")
    refused = [
        house("limit", "create", "project", "--spend", "1usd/day"),
        house("limit", "create", "tenant", "web", "--spend", "1usd/day"),
        house("limit", "create", "tenant"),
        house("limit", "create", "tenant", "--requests", "1/day", "--at-cap", "clamp"),
        house("limit", "show", "../keys"),
    ]
    assert [done.code for done in refused] == [2] * 5


def test_what_was_done_is_on_record(house: Cli) -> None:
    house("key", "create", "ci")
    actions = [each["action"] for each in items(house, "audit")]
    assert actions[:3] == ["limit.create", "key.create", "project.enable"] and "user.create" in actions
    one = house(
        "audit", "--action", "key.create", "--action", "project.enable", "--format", "jsonl", "--since", "1h"
    ).out
    assert [json.loads(line)["action"] for line in one.splitlines()] == ["key.create", "project.enable"]
    rows = list(csv.DictReader(io.StringIO(house("audit", "--format", "csv").out)))
    assert [row["action"] for row in rows] == actions and rows[0]["actor_kind"] == "operator"
    assert len(items(house, "audit", "--most", "2")) == 2
    assert (house("events").code, items(house, "events")) == (0, [])
    assert items(house, "events", "--action", "limit.threshold", "--target", "lim_1") == []
    wrong = house("events", "--action", "key.create")
    assert wrong.code == 2 and "action: must be one of" in wrong.err
    assert house("verify").code == 0


def test_a_name_that_another_key_has_is_no_longer_enough(house: Cli) -> None:
    assert house("key", "create", "ci").err == ""
    done = house("key", "create", "ci")
    assert done.code == 0 and "another key is called ci, too: name this one by its id, key_" in done.err
    assert "2 keys are called ci: name one by its id" in house("key", "show", "ci").err


def test_events_of_limits_are_in_their_own_words(house: Cli, data: Path) -> None:
    """What is limited by its name, amounts as `limit` takes them; programs get what is on record."""
    key = json.loads(house("key", "create", "ci", "--spend", "20usd/day", "--format", "json").out)
    spend = LimitEvent(
        kind="threshold",
        limit=key["limits"][0]["id"],
        tenant="default",
        counter=f"default/key/{key['id']}/spend/day",
        period="2026-11-21",
        percent=80,
        used=16_000_000_000,
        cap=20_000_000_000,
        hard=True,
        at=times.now(),
    )
    tokens = {"counter": "default/tenant/default/tokens/day", "percent": 100, "used": 9, "cap": 8, "hard": False}
    record(data, [], [spend, replace(spend, kind="exceeded", **tokens), replace(spend, counter="of another form")])
    shown = house("events").out
    assert "80 % of key ci's spend 20usd/day: 16usd used" in shown
    assert "100 % of tenant's tokens 8/day (soft): 9 used" in shown and "counter=of another form" in shown
    assert {each["details"]["used"] for each in items(house, "events")} == {9, 16_000_000_000}


def test_the_master_key_is_replaced(house: Cli, data: Path) -> None:
    keys = DataDir(data).master_keys
    before = keys.read_bytes()
    done = house("secrets", "rotate")
    assert (done.code, done.out) == (0, "1 secret sealed anew; 1 master key left\n")
    assert keys.read_bytes() != before and stat.S_IMODE(keys.stat().st_mode) == 0o600
    # It opens: a test of it gets as far as asking the provider.
    assert "may work or not" in house("credential", "test", "main").out


FILE = """
projects:
  - name: web
    team: checkout
    providers: [{provider: openai, credential: second}]
    limits: [{spend: 50usd/month}]
credentials:
  - {name: main, provider: openai}
  - {name: second, provider: openai, secret: {env: SECOND}, rotate_hook: "https://hook.example/x", test: true}
keys:
  - {name: ci, project: web, user: ann@example.com, limits: [{requests: 60/minute}, {concurrency: 2}]}
  - {name: batch, project: web, disabled: true}
limits:
  - {on: tenant, concurrency: 40}
"""


def test_apply(house: Cli, data: Path) -> None:
    file, kept = data / "house.yaml", data / "keys.jsonl"
    file.write_text(FILE)
    apply = ("apply", "-f", str(file))
    planned = house(*apply, "--dry-run")
    assert planned.code == 0 and planned.out.splitlines() == [
        "~ project web: team payments → checkout",
        "+ credential second",
        "+ project web uses openai by second",
        "+ key web/ci",
        "+ key web/batch",
        "~ key web/batch: disabled",
        "+ limit on project web: spend 50usd/month",
        "+ limit on tenant: concurrency 40",
    ]
    assert items(house, "key", "list") == []
    missing = house(*apply)
    assert missing.code == 2 and "the variable SECOND, which holds its secret, is not set" in missing.err
    done = house(*apply, "--keys-out", str(kept), SECOND="sk-planted-third-987654321")
    assert (done.code, done.out) == (0, ""), done.err
    assert "planted" not in done.err and "gth_" not in done.err
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["credential", "key", "key"]
    assert re.fullmatch("[0-9a-f]{64}", lines[0]["hook_key"]) and lines[0]["name"] == "second"
    assert {(line["project"], line["name"]) for line in lines[1:]} == {("web", "ci"), ("web", "batch")}
    assert all(KEY.fullmatch(line["key"]) for line in lines[1:])
    assert [(house(*apply).code, house(*apply).err) for _ in range(2)] == [(0, "nothing to do\n")] * 2
    taken = house(*apply[:1], "-f", str(data / "house.yaml"), "--keys-out", str(kept))
    assert taken.code == 0  # nothing to show: the file is not touched
    again = data / "again.yaml"
    again.write_text(house("export").out)
    assert house("apply", "-f", str(again), "--prune").err == "nothing to do\n"
    assert "planted" not in again.read_text() and "gth_" not in again.read_text()
    gone = house(*apply, "--prune", "--dry-run").out.splitlines()
    assert gone == ["- project web uses openai by main"]


def test_keys_made_by_apply_are_not_lost_when_a_later_step_fails(house: Cli, data: Path) -> None:
    file = data / "house.yaml"
    file.write_text(
        "keys:\n  - {name: good, project: web}\nlimits:\n  - {on: model gpt-4o, requests: 1/day, at_cap: clamp}\n"
    )
    done = house("apply", "-f", str(file))
    assert done.code == 1 and "+ limit on model gpt-4o: requests 1/day" in done.err and "at_cap" in done.err
    (line,) = done.out.splitlines()
    assert json.loads(line)["name"] == "good" and KEY.fullmatch(json.loads(line)["key"])
    file.write_text("keys:\n  - {name: other, project: web}\n")
    taken = data / "taken"
    taken.write_text("older keys")
    refused = house("apply", "-f", str(file), "--keys-out", str(taken))
    assert refused.code == 1 and "cannot make" in refused.err and taken.read_text() == "older keys"
    assert [each["name"] for each in items(house, "key", "list")] == ["good"]


def test_problems_in_a_file_are_told_with_their_lines(house: Cli, data: Path) -> None:
    file = data / "house.yaml"
    file.write_text("keys:\n  - name: a\n    project: nope\n  - name: b\n    user: bob@example.com\n")
    done = house("apply", "-f", str(file))
    assert done.code == 2 and [line.partition(": keys")[0] for line in done.err.splitlines()] == [
        f"Error: {file}:3",
        f"Error: {file}:5",
    ]
    assert house("apply", "-f", str(data / "none.yaml")).code == 2


def test_before_there_is_anything(cli: Cli, data: Path) -> None:
    done = cli("project", "list")
    assert (done.code, done.out) == (0, "")
    # Perhaps another directory was meant.
    assert f"nobody owns the data directory {data} yet" in done.err and done.err.endswith("There are no projects.\n")
    done = cli("project", "create", "web")
    assert done.code == 1 and done.err.splitlines()[0].endswith("run `gatehouse init` first")


def test_in_another_tenant(house: Cli) -> None:
    made = house("tenant", "create", "Acme", "--owner", "zoe@example.com")
    assert made.code == 0, made.err
    assert house("project", "create", "web", "--tenant", "acme").code == 0
    (first, second) = items(house, "project", "list", "--tenant", "Acme")
    assert {first["name"], second["name"]} == {"default", "web"}
    assert items(house, "credential", "list", "--tenant", "Acme") == []
    # Its own project `default`, whose id is another one than that of the first tenant's.
    key = json.loads(house("key", "create", "ci", "--tenant", "Acme", "--format", "json").out)
    assert key["project"] in {each["id"] for each in (first, second) if each["name"] == "default"}
    # A name of the first tenant is none of the second's.
    done = house("key", "create", "x", "--user", OWNER, "--tenant", "Acme")
    assert (done.code, done.err) == (1, f"Error: there is no user {OWNER}\n")


def test_a_report_calls_keys_and_projects_by_their_names(house: Cli, data: Path) -> None:
    """For people; programs get the ids, and what was deleted keeps the name it had."""
    made = [house("key", "create", "ci", "--project", where, "--format", "json") for where in ("web", "default")]
    keys = [json.loads(each.out) for each in made]
    assert house("key", "revoke", keys[1]["id"]).code == 0
    record(
        data,
        [
            (replace(decision(call), key=key["id"], project=key["project"]), outcome(call))
            for key, call in zip(keys, new_ids(2), strict=True)
        ],
    )
    table = house("report", "--by", "project,key").out
    for key, project in zip(keys, ("web", "default"), strict=True):
        assert re.search(rf"^ *{project} +ci \(…{key['id'][-6:]}\) ", table, re.MULTILINE), table
    said = json.loads(house("report", "--by", "project,key", "--format", "json").out)["rows"]
    assert {(row["project"], row["key"]) for row in said} == {(key["project"], key["id"]) for key in keys}
    explained = house("explain", "cost", "--since", "1h").out
    assert f"ci (…{keys[0]['id'][-6:]})" in explained and keys[0]["id"] not in explained, explained


def test_only_what_is_told_apart_by_ids_has_names(house: Cli, data: Path) -> None:
    """The first project's id is a word that an environment or a tag may be, too."""
    assert house("project", "update", "default", "--name", "Main").code == 0
    asked = [("project", "default"), ("environment", "default"), ("key", None), ("user", "ann")]
    called = naming(set_up({"GATEHOUSE_DATA": str(data)}, None, None), "default", asked)
    assert [called(*each) for each in asked] == ["Main", "default", None, "ann"]
