"""Each route that reads calls shows its caller's tenant, and only their own to who may see no more (A7, I6, O8)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatehouse.auth.keys import new_key
from gatehouse.store.rows import Batch
from gatehouse.store.times import now
from tests.control.doors import House, house
from tests.store.samples import call_id, concluded, decided, opened

READS = "/api/v1/traces"
FIGURES = "/api/v1/analytics"


async def _calls(house: House, place: Path, *told: dict[str, Any]) -> list[str]:
    """Calls of the last minute, in this order; their ids."""
    began = now() // 1000 * 1000 - 60_000_000
    names = [call_id(began + n * 1_000_000, n) for n in range(len(told))]
    asks = tuple(decided(name, **each) for name, each in zip(names, told, strict=True))
    ends = tuple(concluded(name, tenant=each.get("tenant", "default")) for name, each in zip(names, told, strict=True))
    async with opened(place) as (writer, _):
        await writer.apply(Batch(asks, ends))
    return names


async def _seen(house: House, headers: Mapping[str, str], names: list[str]) -> set[int]:
    """The calls a caller sees, each route agreeing with the others."""

    async def get(path: str) -> Any:
        answer = await house.ask("GET", path, headers)
        assert answer.status_code == 200, (path, answer.text)
        return answer.json()

    seen = {names.index(item["id"]) for item in (await get(READS))["items"]}
    count = len(seen)
    shown = [(await house.ask("GET", f"{READS}/{name}", headers)).status_code for name in names]
    assert shown == [200 if n in seen else 404 for n in range(len(names))]
    log = await get(f"{FIGURES}/logs")
    assert ({names.index(item["id"]) for item in log["items"]}, log["total"]) == (seen, count)
    for name in ("usage", "cost", "errors"):
        assert (await get(f"{FIGURES}/{name}?from=1h&group_by=team,service"))["total"]["calls"] == count, name
    assert (await get(f"{FIGURES}/latency?from=1h"))["total"]["duration"]["calls"] == count
    for name in ("models", "keys"):
        assert sum(item["calls"] for item in (await get(f"{FIGURES}/{name}?from=1h"))["items"]) == count, name
    assert (await get(f"{FIGURES}/summary?from=1h"))["current"]["calls"] == count
    assert (await get(f"{FIGURES}/stats?period=24h"))["total_requests"] == count
    assert (await get(f"{FIGURES}/explain?metric=errors&from=1h"))["after"]["calls"] == count
    return seen


def test_every_route_shows_what_its_caller_may_see(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            member, viewer, other = await made.user("member"), await made.user("viewer"), await made.tenant()
            texts = [new_key("live") for _ in range(3)]
            own = await made.key(texts[0].digest, role="member", user=member)
            nobody = await made.key(texts[1].digest, role="member")
            await made.key(texts[2].digest, role="viewer")
            names = await _calls(
                made,
                tmp_path,
                {"user_id": member, "key_id": own, "team": "search", "service": "bot"},
                {"user_id": viewer},
                {"key_id": nobody},
                {"tenant": other, "user_id": member, "key_id": own},
                {"user_id": member},
            )
            expected: list[tuple[Mapping[str, str], set[int]]] = [
                (await made.bearer(member), {0, 4}),
                (await made.bearer(viewer), {0, 1, 2, 4}),
                (await made.bearer(made.made["other owner"], other), {3}),
                ({"x-gatehouse-key": texts[0].text}, {0, 4}),
                ({"x-gatehouse-key": texts[1].text}, {2}),
                ({"authorization": f"Bearer {texts[2].text}"}, {0, 1, 2, 4}),
            ]
            for headers, seen in expected:
                assert await _seen(made, headers, names) == seen

    asyncio.run(run())


def test_records_in_bulk_need_the_permission(tmp_path: Path) -> None:
    """`export:read`; figures in another form do not."""

    async def run() -> None:
        async with house(tmp_path) as made:
            await _calls(made, tmp_path, {})
            roles = {"auditor": 200, "owner": 200, "viewer": 403, "developer": 403, "member": 403}
            for role, status in roles.items():
                headers = await made.bearer(await made.user(role))
                for path in (f"{READS}?format=csv", f"{FIGURES}/logs?format=jsonl"):
                    answer = await made.ask("GET", path, headers)
                    assert answer.status_code == status, (role, path)
                figures = await made.ask("GET", f"{FIGURES}/usage?format=csv", headers)
                assert figures.status_code == 200, role

    asyncio.run(run())


def test_where_the_store_is_only_who_has_the_machine_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            owner = await made.bearer(await made.user("owner"))
            told = (
                (await made.ask("GET", READS, owner)).json()["detail"],
                (await made.operate("GET", READS)).json()["detail"],
            )
            assert told[0] == "the store cannot be used now"
            assert str(tmp_path) in told[1]

    asyncio.run(run())
