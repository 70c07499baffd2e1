"""Gateway keys over the management API: `/api/v1/keys`, and in the words of the systems it replaces."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from gatehouse.auth.keys import digest
from gatehouse.control.caller import Caller
from gatehouse.control.minting import DEFAULT_RATE, MOST_OWN
from gatehouse.routing.compat import control_path
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import NewKey, NewLimit
from tests.control.administered import Administered, administered, bearer, run
from tests.control.doors import OPERATOR
from tests.control.workers import until

KEY = re.compile(r"gth_(live|test)_[0-9A-Za-z]{36}")


def test_the_lines_for_sdks_name_the_address_that_one_came_by(tmp_path: Path) -> None:
    """Whatever the listener's own is: a wildcard, or a port left to chance."""

    async def test(api: Administered) -> None:
        came_by = OPERATOR | {"x-gatehouse-base": "https://10.0.0.7:8443"}
        made = await api.house.client.post("/api/v1/keys", json={"name": "there"}, headers=came_by)
        assert made.json()["exports"]["google"][0] == "export GOOGLE_GEMINI_BASE_URL=https://10.0.0.7:8443"

    run(tmp_path, test)


def test_a_key_is_shown_once_and_has_a_default_limit(tmp_path: Path) -> None:
    """A2, P5: lists show the last four characters alone."""

    async def test(api: Administered) -> None:
        made = await api.ask("POST", "/keys", {"name": "ci", "owner": "team a"}, 201)
        assert KEY.fullmatch(made["key"]) and made["key"][-4:] == made["last4"]
        assert [(each["measure"], each["window"], each["cap"], each["hard"]) for each in made["limits"]] == [
            ("requests", "minute", DEFAULT_RATE, True)
        ]
        assert made["exports"]["openai"][0] == "export OPENAI_BASE_URL=https://gateway.example/v1"
        assert made["key"] in made["exports"]["anthropic"][1]
        api.answers.clear()
        [listed] = (await api.ask("GET", "/keys"))["items"]
        shown = await api.ask("GET", f"/keys/{made['id']}")
        assert listed == shown and shown["key"] == f"gth_live_…{made['last4']}"
        changed = await api.ask("PATCH", f"/keys/{made['id']}", {"owner": "team b", "models": ["gpt-*"]})
        assert (changed["owner"], changed["name"], changed["models"]) == ("team b", "ci", ["gpt-*"])
        assert not any(made["key"] in each or digest(made["key"].encode()).hex() in each for each in api.answers)

    run(tmp_path, test)


def test_revocation_answers_when_no_worker_takes_the_key(tmp_path: Path) -> None:

    async def test(api: Administered) -> None:
        made = await api.ask("POST", "/keys", {}, 201)
        workers = api.house.workers
        workers.held, before = asyncio.Event(), workers.awaited
        revoking = asyncio.create_task(api.ask("DELETE", f"/keys/{made['id']}", None, 204))
        await until(lambda: workers.awaited > before)
        # It is durable by then.
        assert (await api.house.accounts.administration.operator.sections()).keys == {}
        assert not revoking.done()
        workers.held.set()
        await revoking
        assert api.house.said("key.revoke")[0].target == made["id"]
        await api.ask("DELETE", f"/keys/{made['id']}", None, 404)

    run(tmp_path, test)


def test_disabling_and_rotating(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        made = await api.ask("POST", "/keys", {"scopes": ["chat"], "limits": []}, 201)
        waited = api.house.workers.awaited
        disabled = await api.ask("PATCH", f"/keys/{made['id']}", {"disabled": True})
        assert disabled["disabled_at"] is not None and api.house.workers.awaited == waited + 1
        await api.ask("PATCH", f"/keys/{made['id']}", {"disabled": False})
        rotated = await api.ask("POST", f"/keys/{made['id']}/rotate", {"overlap_seconds": 60}, 201)
        assert rotated["id"] != made["id"] and rotated["counts_as"] == made["id"] and KEY.fullmatch(rotated["key"])
        before = await api.ask("GET", f"/keys/{made['id']}")
        assert before["succeeded_by"] == rotated["id"] and before["retires_at"] is not None
        await api.ask("POST", f"/keys/{made['id']}/rotate", {}, 400)

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["chat", "nothing"]}, "scopes"),
        ({"providers": ["openai", "nobody"]}, "providers[1]"),
        ({"addresses": ["10.0.0.0/8", "here"]}, "addresses[1]"),
        ({"models": ["a b"]}, "models[0]"),
        ({"role": "god"}, "role"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"project": "prj_nothing"}, "project"),
        ({"user": "usr_nothing"}, "user"),
        ({"name": "a\nb"}, "name"),
        ({"unknown": 1}, "unknown"),
        ({"limits": [{"measure": "spend", "window": "minute", "cap": 1}]}, "limits[0].window"),
        ({"limits": [{"measure": "spend", "window": "day", "cap": 10**30}]}, "limits[0].cap"),
        ({"limits": [{"measure": "spend", "window": "day", "cap": True}]}, "limits[0].cap"),
        ([], "body"),
    ],
)
def test_wrong_input_is_named(tmp_path: Path, body: object, field: str) -> None:
    async def test(api: Administered) -> None:
        assert await api.problem("POST", "/keys", body) == {field}

    run(tmp_path, test)


@pytest.mark.parametrize("content", [b'{"name": "\\ud800"}', b"{", b"\xff", b'{"name": 1e999}', b"[" * 100_000])
def test_whatever_is_sent_is_no_bug(tmp_path: Path, content: bytes) -> None:
    async def test(api: Administered) -> None:
        headers = {**OPERATOR, "content-type": "application/json"}
        answered = await api.house.client.post("/api/v1/keys", content=content, headers=headers)
        assert answered.status_code == 400 and answered.json()["code"] == "BAD_REQUEST"

    run(tmp_path, test)


def test_nobody_makes_a_key_that_may_do_more_than_they_may(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        house = api.house
        admin = await house.bearer(await house.user("admin"))
        member_id = await house.user("member")
        member = await house.bearer(member_id)
        assert await api.problem("POST", "/keys", {"role": "owner"}, headers=admin) == {"role"}
        assert await api.problem("POST", "/keys", {"scopes": ["provider:any"]}, headers=admin) == {"scopes"}
        assert await api.problem("POST", "/keys", {"role": "developer"}, headers=member) == {"role"}
        own = await api.ask("POST", "/keys", {"role": "member"}, 201, headers=member)
        assert own["user"] == member_id
        assert await api.problem("POST", "/keys", {"user": None}, headers=member) == {"user"}
        # What somebody else has more of does not come into one's hands by rotating it.
        of_owner = await api.ask("POST", "/keys", {"role": "owner", "scopes": ["provider:any"]}, 201)
        await api.ask("POST", f"/keys/{of_owner['id']}/rotate", {}, 403, headers=admin)
        # Others' keys are not there for a member, disabled ones stay so.
        await api.ask("GET", f"/keys/{of_owner['id']}", None, 404, headers=member)
        await api.ask("DELETE", f"/keys/{of_owner['id']}", None, 404, headers=member)
        assert [each["id"] for each in (await api.ask("GET", "/keys", headers=member))["items"]] == [own["id"]]
        await api.ask("PATCH", f"/keys/{own['id']}", {"disabled": True})
        await api.ask("PATCH", f"/keys/{own['id']}", {"disabled": False}, 403, headers=member)

    run(tmp_path, test)


def test_nobody_fills_the_workers_memory_with_keys_of_their_own(tmp_path: Path) -> None:
    """I9."""

    async def test(api: Administered) -> None:
        member = await api.house.user("member")
        headers = await api.house.bearer(member)
        directory = api.house.accounts.administration.tenant(ids.DEFAULT)
        event = Caller("operator").event("key.create", "key", "key_x")
        async with directory.together() as inside:
            for number in range(MOST_OWN - 1):
                text = str(number).encode()
                new = NewKey(ids.new("key"), digest(text), "0000", ids.DEFAULT, user=member)
                await inside.create_key(new, structs.replace(event, id=ids.new("event")))
        at_once = await asyncio.gather(
            *(api.house.ask("POST", "/api/v1/keys", headers, json={"limits": []}) for _ in range(5))
        )
        assert sorted(each.status_code for each in at_once) == [201, 403, 403, 403, 403]
        last = next(each.json() for each in at_once if each.status_code == 201)
        refused = await api.ask("POST", "/keys", {}, 403, headers=headers)
        assert str(MOST_OWN) in refused["detail"]
        await api.ask("POST", f"/keys/{last['id']}/rotate", {}, 403, headers=headers)
        await api.ask("DELETE", f"/keys/{last['id']}", None, 204, headers=headers)
        await api.ask("POST", "/keys", {}, 201, headers=headers)
        # Whoever manages everybody's keys makes as many as it takes.
        await api.ask("POST", "/keys", {"user": member}, 201)

    run(tmp_path, test)


def test_no_key_outlives_the_rights_of_those_behind_it(tmp_path: Path) -> None:
    """A key may never exceed its creator, also later."""

    async def test(api: Administered) -> None:
        house = api.house
        left_id = await house.user("admin")
        left = await house.bearer(left_id)
        stays = await house.user("admin")
        kept = [
            await api.ask("POST", "/keys", {"role": "admin", "user": whose}, 201, headers=left)
            for whose in (left_id, None, stays)
        ]
        # A key of nobody's makes another one: the same person answers for both.
        further = await api.ask("POST", "/keys", {"role": "admin"}, 201, headers=bearer(kept[1]["key"]))
        assert further["user"] is None and {each["created_by"] for each in (*kept, further)} == {left_id}
        for each in (*kept, further):
            await api.ask("GET", "/users", headers=bearer(each["key"]))
        await api.ask("PATCH", f"/users/{left_id}", {"role": "developer"})
        for each in (*kept, further):
            await api.ask("GET", "/users", None, 403, headers=bearer(each["key"]))
            await api.ask("POST", f"/keys/{each['id']}/rotate", {}, 403, headers=bearer(each["key"]))
        await api.ask("PATCH", f"/users/{left_id}", {"disabled": True})
        await api.ask("GET", "/projects", None, 403, headers=bearer(kept[1]["key"]))
        assert (await api.ask("GET", "/me", headers=bearer(kept[1]["key"])))["permissions"] == []
        # Whoever replaces a key answers for what comes after it.
        anew = await api.ask("POST", f"/keys/{kept[1]['id']}/rotate", {}, 201)
        await api.ask("GET", "/users", headers=bearer(anew["key"]))

    run(tmp_path, test)


def test_nobody_opens_a_key_further_that_may_do_more_than_they_may(tmp_path: Path) -> None:
    """Whose owner's key is worth an admin's since they are one does not take themselves from it, nor its end."""

    async def test(api: Administered) -> None:
        house = api.house
        first, once_owner = await house.bearer(house.made["owner"]), await house.user("owner")
        ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        body = {"user": once_owner, "role": "owner", "scopes": ["chat", "provider:any"], "expires_at": ends}
        made = await api.ask("POST", "/keys", body, 201, headers=first)
        theirs = await api.ask("POST", "/keys", {"role": "admin"}, 201, headers=await house.bearer(once_owner))
        await api.ask("PATCH", f"/users/{once_owner}", {"role": "admin"})
        admin, key = await house.bearer(once_owner), f"/keys/{made['id']}"
        await api.ask("PATCH", key, {"disabled": True}, headers=admin)
        opened: list[dict[str, object]] = [
            {"user": None}, {"user": house.made["owner"]}, {"expires_at": None}, {"models": []}, {"addresses": []},
            {"disabled": False}, {"user": None, "role": None}, {"user": None, "scopes": ["chat"]},
        ]  # fmt: skip
        for headers in (admin, bearer(theirs["key"])):
            for change in opened:
                await api.ask("PATCH", key, change, 403, headers=headers)
        await api.ask("PATCH", key, {"name": "theirs"}, headers=admin)
        less = await api.ask("PATCH", key, {"user": None, "role": "admin", "scopes": ["chat"]}, headers=admin)
        assert (less["user"], less["role"], less["scopes"]) == (None, "admin", ["chat"])

    run(tmp_path, test)


def test_what_a_key_would_not_be_worth_is_refused(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        developer = await api.house.user("developer")
        wide = {"scopes": ["provider:any"]}
        assert await api.problem("POST", "/keys", {**wide, "user": developer}) == {"scopes"}
        theirs = await api.ask("POST", "/keys", {}, 201, headers=await api.house.bearer(developer))
        assert await api.problem("PATCH", f"/keys/{theirs['id']}", wide) == {"scopes"}
        assert await api.problem("PATCH", f"/keys/{theirs['id']}", {"role": "admin"}) == {"role"}
        mine = await api.ask("POST", "/keys", wide, 201)
        assert await api.problem("PATCH", f"/keys/{mine['id']}", {"user": developer}) == {"scopes"}

    run(tmp_path, test)


def test_a_key_that_ends_rotates_none_that_lasts(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        ends = await api.ask("POST", "/keys", {"role": "admin", "user": None, "expires_at": soon}, 201)
        lasts = await api.ask("POST", "/keys", {"user": None}, 201)
        await api.ask("POST", f"/keys/{lasts['id']}/rotate", {}, 403, headers=bearer(ends["key"]))
        await api.ask("POST", f"/keys/{ends['id']}/rotate", {}, 201, headers=bearer(ends["key"]))

    run(tmp_path, test)


def test_a_key_makes_keys_within_itself(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        owner = api.house.made["owner"]
        soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        held = await api.ask(
            "POST",
            "/keys",
            {
                "role": "developer",
                "user": owner,
                "scopes": ["chat", "models"],
                "models": ["gpt-4o*"],
                "providers": ["openai"],
                "addresses": ["203.0.113.0/24"],
                "expires_at": soon,
                "limits": [{"measure": "requests", "window": "minute", "cap": 10}],
            },
            201,
        )
        holder = bearer(held["key"])
        for body, field in (
            ({"scopes": ["images"]}, "scopes"),
            ({"models": ["*"]}, "models"),
            ({"models": []}, "models"),
            ({"providers": ["anthropic"]}, "providers"),
            ({"addresses": ["10.0.0.0/8"]}, "addresses"),
            ({"expires_at": None}, "expires_at"),
            ({"limits": [{"measure": "requests", "window": "minute", "cap": 11}]}, "limits"),
        ):
            assert await api.problem("POST", "/keys", body, headers=holder) == {field}, body
        made = await api.ask("POST", "/keys", {"models": ["gpt-4o-mini"]}, 201, headers=holder)
        assert (made["scopes"], made["models"], made["providers"]) == (["chat", "models"], ["gpt-4o-mini"], ["openai"])
        assert made["expires_at"] == held["expires_at"] and made["addresses"] == ["203.0.113.0/24"]
        assert min(limit["cap"] for limit in made["limits"] if limit["measure"] == "requests") == 10

    run(tmp_path, test)


def test_a_key_hands_on_all_its_limits_however_many_there_are(tmp_path: Path) -> None:
    """I4: also the oldest, behind a page of newer ones."""

    async def test(api: Administered) -> None:
        terms = [{"measure": "requests", "window": "minute", "cap": 10}]
        held = await api.ask("POST", "/keys", {"user": api.house.made["owner"], "role": "admin", "limits": terms}, 201)
        directory = api.house.accounts.administration.tenant(ids.DEFAULT)
        event = Caller("operator").event("limit.create", "limit", "lim_x")
        async with directory.together() as inside:
            for number in range(501):
                new = NewLimit(ids.new("limit"), "key", held["id"], "requests", "minute", 1_000 + number)
                await inside.create_limit(new, structs.replace(event, id=ids.new("event")))
        made = await api.ask("POST", "/keys", {}, 201, headers=bearer(held["key"]))
        assert min(limit["cap"] for limit in made["limits"]) == 10

    run(tmp_path, test)


def test_other_tenants_keys_are_not_there(tmp_path: Path) -> None:
    """I6, A7."""

    async def test(api: Administered) -> None:
        made = await api.ask("POST", "/keys", {}, 201)
        other = await api.house.tenant()
        theirs = await api.house.bearer(api.house.made["other owner"], other)
        assert (await api.ask("GET", "/keys", headers=theirs))["items"] == []
        for method, path, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "mine"}),
            ("DELETE", "", None),
            ("POST", "/rotate", {}),
        ):
            named = await api.ask(method, f"/keys/{made['id']}{path}", body, 404, headers=theirs)
            unknown = await api.ask(method, f"/keys/{ids.new('key')}{path}", body, 404, headers=theirs)
            assert named["code"] == unknown["code"] == "NOT_FOUND"
        wanted = {"project": ids.DEFAULT}
        assert await api.problem("POST", "/keys", wanted, headers=theirs) == {"project"}

    run(tmp_path, test)


def test_lists_page_by_keyset(tmp_path: Path) -> None:
    async def test(api: Administered) -> None:
        made = [(await api.ask("POST", "/keys", {}, 201))["id"] for _ in range(5)]
        found: list[str] = []
        path = "/keys?limit=2"
        while True:
            page = await api.ask("GET", path)
            found += [each["id"] for each in page["items"]]
            if page["next_cursor"] is None:
                break
            path = f"/keys?limit=2&cursor={page['next_cursor']}"
        assert found == made[::-1]
        assert await api.problem("GET", "/keys?cursor=nonsense", None) == {"cursor"}

    run(tmp_path, test)


def test_the_words_of_the_audittrail_gateway(tmp_path: Path) -> None:
    """A3, A4."""

    async def test(api: Administered) -> None:
        caps = {"rate_limit_per_minute": 5, "monthly_spend_cap_usd": 12.5}
        made = await api.ask("POST", "/gateway/keys", {"name": "noisy", **caps}, 201)
        assert KEY.fullmatch(made["key"])
        [listed] = (await api.ask("GET", "/gateway/keys"))["items"]
        assert made["key"] not in api.answers[-1] and listed["last4"] == made["key"][-4:]
        assert {name: listed[name] for name in caps} == caps and listed["is_active"]
        limits = (await api.ask("GET", f"/limits?scope=key&scope_id={made['id']}"))["items"]
        assert {(each["measure"], each["window"], each["cap"]) for each in limits} == {
            ("requests", "minute", 5),
            ("spend", "month", 12_500_000_000),
        }
        default = await api.ask("POST", "/gateway/keys", {}, 201)
        assert (default["rate_limit_per_minute"], default["monthly_spend_cap_usd"]) == (60, None)
        await api.ask("DELETE", f"/gateway/keys/{made['id']}", None, 204)
        assert [each["id"] for each in (await api.ask("GET", "/gateway/keys"))["items"]] == [default["id"]]

    run(tmp_path, test)


def test_the_words_of_the_trueportai_gateway(tmp_path: Path) -> None:
    """T7: exactly these fields."""
    fields = {"id", "key", "owner", "is_active", "rate_limit_rpm", "created_at"}

    async def test(api: Administered) -> None:
        path = control_path("/trueportai-services/api/v1/keys")
        assert path is not None
        path = path.removeprefix("/api/v1")
        made = await api.ask("POST", path, {"owner": "production-app", "rate_limit_rpm": 120}, 201)
        assert set(made) == fields and KEY.fullmatch(made["key"]) and made["rate_limit_rpm"] == 120
        second = await api.ask("POST", path, {}, 201)
        assert (second["owner"], second["rate_limit_rpm"]) == (None, 60)
        listed = await api.ask("GET", path)
        assert [each["id"] for each in listed] == [second["id"], made["id"]] and set(listed[0]) == fields
        assert listed[1]["key"] == f"gth_live_…{made['key'][-4:]}" and made["key"] not in api.answers[-1]
        assert [each["id"] for each in await api.ask("GET", f"{path}?limit=1&offset=1")] == [made["id"]]
        await api.ask("PATCH", f"/keys/{made['id']}", {"disabled": True})
        assert [each["is_active"] for each in await api.ask("GET", path)] == [True, False]
        assert await api.problem("GET", f"{path}?limit=101", None) == {"limit"}

    run(tmp_path, test)


def test_keys_on_every_database(place: Path) -> None:
    async def test() -> None:
        async with administered(place) as api:
            made = await api.ask("POST", "/keys", {"name": "one"}, 201)
            assert [each["id"] for each in (await api.ask("GET", "/keys?name=one"))["items"]] == [made["id"]]
            assert await api.ask("GET", "/services/keys") == [
                {
                    "id": made["id"],
                    "key": f"gth_live_…{made['last4']}",
                    "owner": None,
                    "is_active": True,
                    "rate_limit_rpm": 60,
                    "created_at": made["created_at"],
                }
            ]
            await api.ask("DELETE", f"/keys/{made['id']}", None, 204)
            assert (await api.ask("GET", "/keys"))["items"] == []

    asyncio.run(test())
