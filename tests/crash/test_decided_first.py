"""I2 as the upstream can see it: when a request arrives there, its decision stands in the journal already."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests import running
from tests.crash import kinds
from tests.crash.load import Load
from tests.crash.processes import wait_until
from tests.fakes import Answer, Fake, Seen, openai_api
from tests.running import Journal

CALLS = 300


class Auditor:
    """An upstream that looks into the journal before it answers."""

    def __init__(self, journal: Path) -> None:
        self.early: list[str] = []
        """Requests that came before their decision."""
        self._journal = Journal(journal)
        self._decided: set[str] = set()
        self._read = 0

    def answer(self, seen: Seen, error: int | None) -> Answer:
        lines = self._journal.poll()
        for line in lines[self._read :]:
            if line.kind == "decision":
                self._decided.add(line.body.get("forwarded_sha256") or line.body["request_sha256"])
        self._read = len(lines)
        if hashlib.sha256(seen.body).hexdigest() not in self._decided:
            self.early.append(seen.header("x-test-id") or "")
        return openai_api.answer(seen, error)


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_nothing_is_forwarded_before_its_decision_is_written(tmp_path: Path, durability: str) -> None:
    """I2, under both durabilities, with many calls in one turn of the loop and new segments on the way."""
    auditor = Auditor(tmp_path / "data" / "journal")
    with Fake(auditor.answer).serving() as fake:
        config = {
            "providers": {"openai": {"base_url": fake.url}},
            "journal": {"durability": durability, "segment_seconds": 1.0},
        }
        with (
            running.gateway(config, data=tmp_path / "data") as house,
            Load(house.port, [kinds.PLAIN, kinds.STREAM, kinds.LARGE], 24, 1) as loaded,
        ):
            wait_until(lambda: loaded.whole >= CALLS, 60.0, f"{CALLS} calls")
            loaded.finish()
        assert auditor.early == []
        assert len(fake.requests) >= CALLS
