"""`/api/v1/audit`, `/api/v1/events` and the webhook (P8)."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gatehouse.collector.notices import Notices
from gatehouse.config.settings import Callouts
from gatehouse.control.administration import Administration
from gatehouse.control.keysets import KeySets
from gatehouse.control.notifying import FIRST_PAUSE, HOOKS_SECONDS, Notifying
from gatehouse.gateway.notices import limit_notice, rejected_notice, wanted_notice
from gatehouse.journal.records import Admin
from gatehouse.model.limits import LimitEvent
from gatehouse.store import times
from gatehouse.store.directory import ids
from gatehouse.store.reading import Readers
from gatehouse.store.rows import AuditRow, Batch
from gatehouse.store.writing import StoreWriter
from tests.control.administered import Administered, administered
from tests.control.places import Asked, answer, place
from tests.store import databases
from tests.store.samples import opened

LIMIT = LimitEvent(
    kind="threshold",
    limit="lim_1",
    tenant=ids.DEFAULT,
    counter="default/tenant/default/spend/month",
    period="2026-11",
    percent=80,
    used=80,
    cap=100,
    hard=True,
    at=1_763_700_000_000_000,
)


def row(admin: Admin, tenant: str = ids.DEFAULT, seq: int = 1) -> AuditRow:
    """As the collector stores it."""
    return AuditRow(
        tenant=tenant,
        id=admin.id,
        at=times.parse(admin.at),
        actor_kind=admin.actor_kind,
        actor=admin.actor,
        action=admin.action,
        target_kind=admin.target_kind,
        target=admin.target,
        details=json.dumps({name: json.loads(bytes(value)) for name, value in admin.details.items()}),
        lane="lane",
        seq=seq,
    )


async def stored(writer: StoreWriter, *rows: AuditRow) -> None:
    await writer.apply(Batch((), (), audit=rows))


def test_audit_and_events_are_listed(tmp_path: Path) -> None:
    """I6, and what is exported needs the right to."""

    async def test() -> None:
        async with AsyncExitStack() as stack:
            writer, _ = await stack.enter_async_context(opened(tmp_path))
            api = await stack.enter_async_context(administered(tmp_path))
            other = await api.house.tenant()
            key = await api.ask("POST", "/keys", {"name": "=planted-name"}, 201)
            done = [row(admin, tenant, seq) for seq, (tenant, admin) in enumerate(api.house.lines.events)]
            await stored(writer, *done, row(limit_notice(LIMIT)), row(rejected_notice("crd_1", "openai", 401)))
            page = await api.ask("GET", "/audit?limit=2")
            assert len(page["items"]) == 2 and page["next_cursor"] is not None
            found = await api.ask("GET", "/audit?action=key.create&action=nothing")
            assert [each["target"] for each in found["items"]] == [key["id"]]
            assert found["items"][0]["actor_kind"] == "operator" and found["items"][0]["record"]["lane"] == "lane"
            assert (await api.ask("GET", f"/audit?target={key['id']}&until=2020-01-01T00:00:00Z"))["items"] == []
            assert await api.problem("GET", "/audit?since=yesterday", None) == {"since"}
            assert await api.problem("GET", "/audit?cursor=x", None) == {"cursor"}
            csv = await api.house.operate("GET", "/api/v1/audit?format=csv")
            lines = await api.house.operate("GET", "/api/v1/audit?format=jsonl")
            events = api.house.lines.events
            assert csv.status_code == 200 and csv.text.count("\n") == 1 + lines.text.count("\n")
            assert lines.text.count("\n") == len([1 for tenant, _ in events if tenant == ids.DEFAULT]) + 2
            shown = (await api.ask("GET", "/events"))["items"]
            assert {each["action"] for each in shown} == {"limit.threshold", "credential.rejected"}
            [threshold] = (await api.ask("GET", "/events?action=limit.threshold"))["items"]
            assert threshold["details"]["percent"] == 80 and threshold["target"] == "lim_1"
            assert await api.problem("GET", "/events?action=key.create", None) == {"action"}
            theirs = await api.house.bearer(api.house.made["other owner"], other)
            assert {each["target_kind"] for each in (await api.ask("GET", "/audit", headers=theirs))["items"]} == {
                "tenant",
                "project",
                "user",
            }
            assert (await api.ask("GET", "/events", headers=theirs))["items"] == []
            viewer = await api.house.bearer(await api.house.user("viewer"))
            await api.ask("GET", "/audit", None, 403, headers=viewer)
            assert "planted-name" not in csv.text + lines.text

    asyncio.run(test())


class Wanted(KeySets):
    """Key sets that are not fetched; remembers which should have been."""

    def __init__(self, administration: Administration) -> None:
        super().__init__(administration)
        self.wanted: list[str] = []

    def want(self, issuers: Iterable[str]) -> None:
        self.wanted += issuers


class _Hooked:
    """A webhook, and what posts to it by a clock of the test's own."""

    def __init__(self, api: Administered, readers: Readers) -> None:
        administration = api.house.accounts.administration
        self.clock = float(2_000_000_000)
        self.notices = Notices()
        self.readers = readers
        self.key_sets = Wanted(administration)
        self.notifying = Notifying(administration, self.key_sets, now=lambda: self.clock)

    async def step(self, *rows: AuditRow, later: float = 0.0) -> None:
        self.clock += later
        self.notices.put(rows)
        await self.notifying.step(self.notices, self.readers)


def test_the_webhook_is_told_in_order_signed_and_again_until_it_takes_it(tmp_path: Path) -> None:
    status = [200]

    def reply(_asked: Asked) -> bytes:
        return answer(status[0], {})

    async def test() -> None:
        async with AsyncExitStack() as stack:
            writer, _ = await stack.enter_async_context(opened(tmp_path))
            hook = await stack.enter_async_context(place(reply))
            api = await stack.enter_async_context(administered(tmp_path, callouts=Callouts(private=(hook.url,))))
            readers = Readers(databases.url(tmp_path))
            stack.push_async_callback(readers.aclose)
            await api.ask("GET", "/events/webhook", None, 404)
            made = await api.ask("PUT", "/events/webhook", {"url": f"{hook.url}/in"})
            assert await api.ask("GET", "/events/webhook") == {"url": made["url"], "created_at": made["created_at"]}
            assert await api.ask("POST", "/events/webhook/test") == {"delivered": True, "reason": None}
            hooked = _Hooked(api, readers)
            await hooked.step()
            first, second, third = (row(limit_notice(LIMIT), seq=seq) for seq in range(3))
            status[0] = 503
            await hooked.step(first, second)
            await hooked.step()
            assert len(hook.asked) == 2  # the trial, and one attempt: those behind it wait
            status[0] = 200
            await hooked.step(later=FIRST_PAUSE)
            told: list[dict[str, Any]] = [json.loads(asked.body) for asked in hook.asked[1:]]
            assert [each["id"] for each in told] == [first.id, first.id, second.id]
            assert told[0]["type"] == "limit.threshold" and told[0]["details"]["cap"] == 100
            for asked in hook.asked:
                at, _, signed = asked.headers["x-gatehouse-signature"].partition(",v1=")
                body = at.removeprefix("t=").encode() + b"." + asked.body
                assert signed == hmac.digest(bytes.fromhex(made["secret"]), body, "sha256").hex()
            # What was stored while nobody posted is told after a restart, what was told is not.
            await stored(writer, first, second, third)
            again = _Hooked(api, readers)
            await again.step(third)
            assert [json.loads(asked.body)["id"] for asked in hook.asked[4:]] == [third.id]
            await api.ask("DELETE", "/events/webhook", None, 204)
            await again.step(row(limit_notice(LIMIT)), later=HOOKS_SECONDS)
            assert len(hook.asked) == 5
            assert not any(made["secret"] in each for each in api.answers[2:])

    asyncio.run(test())


def test_what_workers_notice_reaches_credentials_and_key_sets(tmp_path: Path) -> None:
    async def test() -> None:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(administered(tmp_path))
            readers = Readers(databases.url(tmp_path))
            stack.push_async_callback(readers.aclose)
            made = await api.credential()
            hooked = _Hooked(api, readers)
            rejected = row(rejected_notice(made["id"], "openai", 401))
            gone = row(rejected_notice(ids.new("credential"), "openai", 401))
            await hooked.step(rejected, gone, row(wanted_notice("iss_1")))
            found = await api.ask("GET", f"/credentials/{made['id']}")
            assert (found["health"], found["health_reason"]) == ("unhealthy", "the provider answered 401")
            assert hooked.key_sets.wanted == ["iss_1"]

    asyncio.run(test())
