"""`/api/v1/limits`: the one declarative form."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from gatehouse.model.limits import WINDOWS, Measure, Window
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.rows import Batch, LedgerRow
from tests.control.administered import Administered, run
from tests.store.samples import opened


def test_every_measure_has_its_windows() -> None:
    assert set(WINDOWS) == set(get_args(Measure))
    assert {window for windows in WINDOWS.values() for window in windows} == set(get_args(Window))


def test_limits_are_made_changed_and_deleted(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        body = {"scope": "tenant", "measure": "spend", "window": "month", "cap": 50_000_000_000, "at_cap": "clamp"}
        made = await api.ask("POST", "/limits", body, 201)
        assert (made["scope_id"], made["hard"], made["max_reserved_share"]) == (ids.DEFAULT, True, 25)
        model = {**body, "scope": "model", "scope_id": "gpt-4o", "assumed": 5}
        assert (await api.ask("POST", "/limits", model, 201))["assumed"] == 5
        waited = api.house.workers.awaited
        changed = await api.ask("PATCH", f"/limits/{made['id']}", {"cap": 7, "assumed": 9})
        assert (changed["cap"], changed["assumed"], changed["at_cap"]) == (7, 9, "clamp")
        assert api.house.workers.awaited == waited + 1
        assert [each["id"] for each in (await api.ask("GET", "/limits?scope=tenant"))["items"]] == [made["id"]]
        await api.ask("DELETE", f"/limits/{made['id']}", None, 204)
        await api.ask("GET", f"/limits/{made['id']}", None, 404)
        # A model's name is the caller's own text.
        assert "gpt-4o" not in str(api.house.lines.events)

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"window": "minute"}, {"window"}),
        ({"measure": "requests", "window": "minute"}, {"at_cap", "assumed"}),
        ({"scope": "key", "scope_id": "key_nothing"}, {"scope_id"}),
        ({"scope": "key"}, {"scope_id"}),
        ({"scope_id": "ten_other"}, {"scope_id"}),
        ({"cap": -1}, {"cap"}),
        ({"cap": 1.5}, {"cap"}),
        ({"max_reserved_share": 101}, {"max_reserved_share"}),
        ({"scope": "planet"}, {"scope"}),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, changed: dict[str, object], fields: set[str]) -> None:
    async def test(api: Administered) -> None:
        body = {"scope": "tenant", "measure": "spend", "window": "day", "cap": 1, "at_cap": "clamp", "assumed": 1}
        assert await api.problem("POST", "/limits", {**body, **changed}) == fields

    run(tmp_path, test)


def test_a_change_must_fit_what_is_there(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        body = {"scope": "tenant", "measure": "requests", "window": "day", "cap": 1}
        made = await api.ask("POST", "/limits", body, 201)
        assert await api.problem("PATCH", f"/limits/{made['id']}", {"at_cap": "clamp"}) == {"at_cap"}
        assert await api.problem("PATCH", f"/limits/{made['id']}", {"scope": "key"}) == {"scope"}

    run(tmp_path, test)


def test_whom_identity_tokens_name_can_be_limited(tmp_path: Path) -> None:
    """D2. The journal does not hold the name; what looks like an id of ours is one."""

    async def test(api: Administered) -> None:
        body = {"scope": "user", "scope_id": "ann@example.com", "measure": "requests", "window": "hour", "cap": 5}
        made = await api.ask("POST", "/limits", body, 201)
        assert (made["scope"], made["scope_id"]) == ("user", "ann@example.com")
        sections = await api.house.accounts.administration.operator.sections()
        assert sections.limits[made["id"]].scope_id == "ann@example.com"
        assert "ann@example.com" not in str(api.house.lines.events)
        listed = await api.ask("GET", "/limits?scope=user&scope_id=ann@example.com")
        assert [each["id"] for each in listed["items"]] == [made["id"]]
        assert await api.problem("POST", "/limits", {**body, "scope_id": ids.new("user")}) == {"scope_id"}

    run(tmp_path, test)


def test_a_member_sees_limits_of_all_and_their_own(tmp_path: Path) -> None:
    """A7."""

    async def test(api: Administered) -> None:
        member_id, other_id = await api.house.user("member"), await api.house.user("member")
        member = await api.house.bearer(member_id)
        own = await api.ask("POST", "/keys", {}, 201, headers=member)
        others = await api.ask("POST", "/keys", {"user": other_id}, 201)
        terms = {"measure": "requests", "window": "hour", "cap": 5}
        for name in (member_id, other_id):
            await api.ask("POST", "/limits", {"scope": "user", "scope_id": name, **terms}, 201)
        await api.ask("POST", "/limits", {"scope": "tenant", **terms}, 201)
        seen = {
            (each["scope"], each["scope_id"]) for each in (await api.ask("GET", "/limits", headers=member))["items"]
        }
        assert seen == {("key", own["id"]), ("user", member_id), ("tenant", ids.DEFAULT)}
        hidden = others["limits"][0]["id"]
        await api.ask("GET", f"/limits/{hidden}", None, 404, headers=member)
        await api.ask("DELETE", f"/limits/{hidden}", None, 403, headers=member)

    run(tmp_path, test)


async def spent(place: Path, limit: Any, settled: int, reserved: int, tenant: str = ids.DEFAULT) -> None:
    """By calls in the limit's present period."""
    counter = f"{tenant}/{limit['scope']}/{limit['scope_id']}/{limit['measure']}/{limit['window']}"
    today = times.rfc3339(times.now())
    period = {"day": today[:10], "month": today[:7], "total": ""}[limit["window"]]
    async with opened(place) as (writer, _):
        await writer.apply(Batch(ledger=(LedgerRow(tenant, counter, period, settled, reserved),)))


def test_how_much_of_a_limit_on_spend_is_used(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        body = {"scope": "tenant", "measure": "spend", "window": "day", "cap": 1000}
        day = await api.ask("POST", "/limits", body, 201)
        total = await api.ask("POST", "/limits", {**body, "window": "total"}, 201)
        rate = await api.ask("POST", "/limits", {**body, "measure": "requests"}, 201)
        assert "used" not in day, "how much is used of a limit that is new is no part of making it"
        listed = {each["id"]: each["used"] for each in (await api.ask("GET", "/limits"))["items"]}
        assert listed == {each["id"]: None for each in (day, total, rate)}, "there is no store yet"
        await spent(tmp_path, day, 40, 70)
        found = (await api.ask("GET", f"/limits/{day['id']}"))["used"]
        assert (found["settled"], found["reserved"]) == (40, 70)
        assert found["ends_at"] > times.rfc3339(times.now()) and found["ends_at"].endswith("T00:00:00.000000Z")
        listed = {each["id"]: each["used"] for each in (await api.ask("GET", "/limits"))["items"]}
        assert listed[day["id"]] == found
        assert listed[total["id"]] == {"settled": 0, "reserved": 0, "ends_at": None}
        assert listed[rate["id"]] is None

    run(tmp_path, test)


def test_who_may_see_how_much_is_used(tmp_path: Path) -> None:
    """I6, and A7: who sees their own calls alone is not told what all spend."""

    async def test(api: Administered) -> None:
        house = api.house
        people = {role: await house.user(role) for role in ("viewer", "member", "auditor")}
        own = {"scope": "user", "scope_id": people["member"], "measure": "spend", "window": "total", "cap": 1000}
        mine = await api.ask("POST", "/limits", own, 201)
        all_ = await api.ask("POST", "/limits", {**own, "scope": "tenant", "scope_id": None}, 201)
        for limit in (mine, all_):
            await spent(tmp_path, limit, 7, 0)
        seen = {}
        for role, name in people.items():
            headers = await house.bearer(name)
            items = (await api.ask("GET", "/limits", headers=headers))["items"]
            seen[role] = {each["id"]: each["used"] and each["used"]["settled"] for each in items}
        assert seen["auditor"] == {mine["id"]: 7, all_["id"]: 7}
        assert seen["viewer"] == {all_["id"]: 7}
        assert seen["member"] == {mine["id"]: 7, all_["id"]: None}
        other = await house.tenant()
        headers = await house.bearer(house.made["other owner"], other)
        body = {"scope": "tenant", "measure": "spend", "window": "total", "cap": 1000}
        theirs = await api.ask("POST", "/limits", body, 201, headers=headers)
        assert (await api.ask("GET", f"/limits/{theirs['id']}", headers=headers))["used"]["settled"] == 0

    run(tmp_path, test)
