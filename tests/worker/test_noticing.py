"""What a worker notices goes on record, in a while and not call by call."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gatehouse.auth.access import Access
from gatehouse.config import settings
from gatehouse.journal.writer import JournalWriter
from gatehouse.limits.claim import Claim
from gatehouse.limits.local import LocalLimits
from gatehouse.model.limits import LimitEntry
from gatehouse.model.moment import Moment
from gatehouse.pipeline.answer import Rejections
from gatehouse.worker.noticing import Noticing
from tests.journal.samples import body, read_all

START = Moment(0, 0)
NOBODY = Access({}, {}, {}, {}, {}, lambda entry: None)


def test_limits_and_rejected_credentials_become_lines_of_their_tenant(tmp_path: Path) -> None:
    async def run() -> None:
        writer = JournalWriter(tmp_path, "worker", settings.Journal(), asyncio.get_running_loop())
        writer.open()
        limits, rejections = LocalLimits(), Rejections()
        limits.configure(
            {"lim_1": LimitEntry("lim_1", "ten_a", "tenant", "ten_a", "requests", "minute", 2)}, Moment(0, 0)
        )
        noticing = Noticing(writer, limits, rejections)
        for at in range(3):
            limits.admit(Claim("ten_a", "prj"), Moment(at, at))
        for _ in range(3):
            rejections.put("ten_b", "crd_1", "openai", 401)
            noticing.sweep(NOBODY)
        writer.close()

    asyncio.run(run())
    notices = [(line.tenant, body(line)) for line in read_all(tmp_path) if line.kind == "admin"]
    assert {(tenant, notice["action"], notice["target"]) for tenant, notice in notices} == {
        ("ten_a", "limit.threshold", "lim_1"), ("ten_b", "credential.rejected", "crd_1"),
    }  # fmt: skip
    assert sum(notice["action"] == "credential.rejected" for _, notice in notices) == 1
