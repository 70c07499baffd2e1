"""How a worker comes to its snapshot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from gatehouse.config.loads import Loads, Registered
from gatehouse.config.settings import Provider, Settings
from gatehouse.gateway import persisted
from gatehouse.gateway.deltas import delta, whole
from gatehouse.gateway.frames import Frame, encode, encoded
from gatehouse.gateway.snapshot import build, filled, live
from gatehouse.model.snapshot import Delta, Snapshot
from gatehouse.worker.subscription import Begun, Subscription, begin
from tests.control.workers import Directory, published, until
from tests.gateway.entries import PLAIN, SETTINGS, key, sections, without
from tests.worker.control_side import GO, control_side

ELSEWHERE = Settings(providers={"openai": Provider(base_url="http://127.0.0.1:9")})
TEN = filled(PLAIN, sections(10), 5)
NINE = filled(PLAIN, without(sections(10), key(3).id), 6)


@pytest.fixture
def loads() -> Any:
    made = Loads.create(2)
    yield made
    os.close(made.fd)


class Served:
    """A worker as a subscription knows it. `unusable`: what putting that version in place raises."""

    def __init__(self, loads: Loads) -> None:
        self.loads = loads
        self.snapshots: list[Snapshot] = []
        self.cut: list[str] = []
        self.unusable: tuple[int, Exception] | None = None

    def swap(self, snapshot: Snapshot, cut: tuple[str, ...]) -> None:
        if self.unusable is not None and snapshot.version == self.unusable[0]:
            raise self.unusable[1]
        before = self.loads.registered()
        assert not before or before[0].version < snapshot.version, "the word is written after the swap, never before"
        self.snapshots.append(snapshot)
        self.cut += cut

    def serve_by(self, version: int) -> None:
        self.loads.serve_by(0, version)

    @property
    def version(self) -> int:
        return self.loads.registered()[0].version


@contextlib.asynccontextmanager
async def _following(served: Served, socket: Path, begun: Begun) -> AsyncIterator[Subscription]:
    served.loads.register(0, os.getpid())
    served.serve_by(begun.snapshot.version)
    subscription = Subscription(socket, begun, served.swap, served.serve_by)
    following = asyncio.create_task(subscription.follow())
    try:
        yield subscription
        assert not following.done()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _run(test: Coroutine[Any, Any, None]) -> None:
    uvloop.run(asyncio.wait_for(test, 60))


# -- starting


def test_without_a_file_it_starts_from_the_configuration(tmp_path: Path, loads: Loads) -> None:
    assert begin(tmp_path / "snapshot.bin", SETTINGS, loads, 1) == Begun(PLAIN, exact=True, published=False)
    assert loads.registered() == [Registered(1, os.getpid(), 1)]


def test_with_one_from_that(tmp_path: Path, loads: Loads) -> None:
    path = tmp_path / "snapshot.bin"
    persisted.write(path, TEN)
    assert begin(path, SETTINGS, loads, 1) == Begun(TEN, exact=True, published=True)
    assert loads.registered() == [Registered(1, os.getpid(), 5)]


def test_a_file_from_before_a_change_of_the_configuration(tmp_path: Path, loads: Loads) -> None:
    """Keys are the file's, providers the configuration's; and control has to send all of it."""
    path = tmp_path / "snapshot.bin"
    persisted.write(path, TEN)
    begun = begin(path, ELSEWHERE, loads, 0)
    assert not begun.exact
    assert begun.snapshot == filled(build(ELSEWHERE), TEN, 5)
    assert begun.snapshot.providers["openai"].origin.port == 9


def test_a_damaged_file_is_ignored_and_left_to_control(
    tmp_path: Path, loads: Loads, caplog: pytest.LogCaptureFixture
) -> None:
    """The one that stands there by now may be a good one: a worker must not move it away."""
    path = tmp_path / "snapshot.bin"
    persisted.write(path, TEN)
    path.write_bytes(path.read_bytes()[:-1])
    assert begin(path, SETTINGS, loads, 0) == Begun(PLAIN, exact=True, published=False)
    assert os.listdir(tmp_path) == ["snapshot.bin"]
    assert caplog.messages == [
        f"{path} is ignored, the configuration alone holds: its digest is not that of its content"
    ]


class Interrupting(Loads):
    """Control publishes at the worst moment: just after the worker has written this word."""

    def __init__(self, made: Loads, word: str, publish: Callable[[], None]) -> None:
        super().__init__(made.fd, 2)
        self._word = word
        self._publish = publish
        self.seen: list[Registered] = []

    def register(self, index: int, pid: int) -> None:
        super().register(index, pid)
        self._written("pid")

    def serve_by(self, index: int, version: int) -> None:
        super().serve_by(index, version)
        self._written("version")

    def _written(self, word: str) -> None:
        if word == self._word:
            self._word = ""
            self._publish()
            self.seen = self.registered()


@pytest.mark.parametrize(("word", "waited_for"), [("pid", 0), ("version", 5)])
def test_a_revocation_in_the_midst_of_a_start_is_not_missed(
    tmp_path: Path, loads: Loads, word: str, waited_for: int
) -> None:
    """What is persisted while it starts is either in what it reads, or control finds a version here
    that it waits for."""
    path = tmp_path / "snapshot.bin"
    persisted.write(path, TEN)
    interrupting = Interrupting(loads, word, lambda: persisted.write(path, NINE))
    assert begin(path, SETTINGS, interrupting, 0).snapshot == NINE
    assert interrupting.seen == [Registered(0, os.getpid(), waited_for)]
    assert loads.registered() == [Registered(0, os.getpid(), 6)]


# -- following


def test_it_takes_what_control_publishes(tmp_path: Path, loads: Loads) -> None:
    directory, served = Directory(sections(3_000, revision=5)), Served(loads)

    async def run() -> None:
        async with (
            published(tmp_path, loads, directory) as publisher,
            _following(served, tmp_path / "snapshot.sock", Begun(PLAIN, True, published=False)) as subscription,
        ):
            assert await subscription.answered()
            assert served.version == 5 and served.snapshots[0].keys == directory.sections.keys
            for number in range(5):
                directory.sections = without(directory.sections, key(number).id)
                version = await publisher.publish()
                await publisher.published(version)
                assert served.version == version == 6 + number
                assert served.snapshots[-1] == filled(PLAIN, directory.sections, version)
            assert len(served.snapshots) == 6
            assert served.snapshots[-1].prices is PLAIN.prices

    _run(run())


def test_keys_to_be_cut_come_with_the_version_that_shuts_them_out(tmp_path: Path, loads: Loads) -> None:
    """Once the word says the version, their calls have ended; a version is made for them alone, too."""
    directory = Directory(sections(3))
    served = Served(loads)

    async def run() -> None:
        async with (
            published(tmp_path, loads, directory) as publisher,
            _following(served, tmp_path / "snapshot.sock", Begun(PLAIN, True, published=False)) as subscription,
        ):
            assert await subscription.answered()
            directory.sections = without(directory.sections, key(1).id)
            await publisher.published(await publisher.publish((key(1).id,)))
            assert served.cut == [key(1).id]
            version = await publisher.publish((key(2).id, key(1).id))
            await publisher.published(version)
            assert served.cut == [key(1).id, key(2).id, key(1).id]
            assert served.version == version
            await publisher.published(await publisher.publish())
            assert len(served.cut) == 3, "once is enough"
        late = Served(loads)
        async with (
            published(tmp_path, loads, directory) as publisher,
            _following(late, tmp_path / "snapshot.sock", Begun(PLAIN, False, published=False)) as subscription,
        ):
            assert await subscription.answered()
            assert late.cut == [], "whoever comes later runs no call of theirs"
            await publisher.published(await publisher.publish((key(2).id,)))
        assert late.cut == [key(2).id]

    asyncio.run(asyncio.wait_for(run(), 30))


def test_who_has_it_already_swaps_nothing(tmp_path: Path, loads: Loads) -> None:
    served = Served(loads)

    async def run() -> None:
        async with (
            published(tmp_path, loads),
            _following(served, tmp_path / "snapshot.sock", Begun(PLAIN, True, published=False)) as subscription,
        ):
            assert await subscription.answered()
            assert served.snapshots == [] and served.version == 1

    _run(run())


def test_without_control_it_waits_no_longer_than_it_should(tmp_path: Path, loads: Loads) -> None:
    async def run() -> None:
        async with _following(
            Served(loads), tmp_path / "snapshot.sock", Begun(TEN, True, published=False)
        ) as subscription:
            begun = time.monotonic()
            assert not await subscription.answered(0.3)
            assert 0.29 <= time.monotonic() - begun < 10  # the timers of a loop are a millisecond off

    _run(run())


def test_control_goes_and_comes_back(tmp_path: Path, loads: Loads) -> None:
    """It serves on by what it has, and is there again within half a second."""
    directory, served = Directory(sections(5, revision=5)), Served(loads)
    socket = tmp_path / "snapshot.sock"

    async def run() -> None:
        async with _following(served, socket, Begun(PLAIN, True, published=False)):
            for round_ in range(3):
                async with published(tmp_path, loads, directory) as publisher:
                    await until(lambda: served.version == 5 + round_, 1.5)  # noqa: B023
                    await publisher.published(5 + round_)
                directory.sections = without(directory.sections, key(round_).id)
                assert served.version == 5 + round_

    _run(run())


SPLIT = list(encoded(whole(filled(PLAIN, sections(5_000), 9))))
WHOLE = b"".join(encoded(whole(NINE)))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([b"\x00\x00\x00\x05rubbi"], "Expected `object`|MessagePack data is malformed"),
        ([b"\xff\xff\xff\xff"], "a frame of 4294967295 bytes"),
        ([encode(Frame(Delta(base=77, version=78)))], "goes on from version 77, and 5 is held"),
        ([SPLIT[0], encode(Frame(Delta(base=5, version=6)))], "a part of 5 → 6 among those of 0 → 9"),
        ([encode(Frame(Delta(base=0, version=6)))], "without providers or prices"),
        ([b"".join(encoded(whole(msgspec.structs.replace(NINE, version=66))))], "no such file"),
    ],
)
def test_what_is_refused_changes_nothing_and_all_is_asked_for(
    tmp_path: Path, loads: Loads, caplog: pytest.LogCaptureFixture, bad: list[bytes], said: str
) -> None:
    served = Served(loads)
    served.unusable = (66, OSError(2, "no such file"))

    async def run() -> None:
        with control_side(tmp_path / "s", bad, [GO, WHOLE]) as side:
            async with _following(served, tmp_path / "s", Begun(TEN, True, published=False)):
                await until(lambda: len(side.hellos) == 2)
                assert served.snapshots == [] and served.version == 5
                side.go()
                await until(lambda: served.version == 6)
                assert served.snapshots == [NINE] and side.hellos == [5, 0]

    _run(run())
    (message,) = caplog.messages
    assert message.startswith("a newer snapshot is refused, 5 goes on: ")
    assert any(part in message for part in said.split("|")), message


def test_who_is_cut_off_in_the_midst_asks_again_for_what_it_lacks(tmp_path: Path, loads: Loads) -> None:
    served = Served(loads)

    async def run() -> None:
        with control_side(tmp_path / "s", [*SPLIT[:2], SPLIT[2][:100]], [*SPLIT]) as side:
            async with _following(served, tmp_path / "s", Begun(TEN, True, published=False)) as subscription:
                assert await subscription.answered(5)
                assert side.hellos == [5, 5] and len(served.snapshots) == 1 and len(served.snapshots[0].keys) == 5_000

    _run(run())


def test_one_with_a_configuration_of_its_own_asks_for_all(tmp_path: Path, loads: Loads) -> None:
    served = Served(loads)

    async def run() -> None:
        with control_side(tmp_path / "s", [WHOLE]) as side:
            async with _following(served, tmp_path / "s", Begun(TEN, exact=False, published=True)) as subscription:
                assert await subscription.answered(5)
                assert side.hellos == [0]

    _run(run())


def test_100_000_keys_do_not_hold_up_the_loop(tmp_path: Path, loads: Loads) -> None:
    """Decoded at once they held it for 163 ms, and 22 ms more for collecting garbage. What is measured
    is the CPU time between two turns of the loop, so that other processes of this machine do not count."""
    most = 0.080  # it takes some 25 ms where nobody else uses the caches
    many = filled(PLAIN, sections(100_000), 10)
    fewer = filled(PLAIN, without(sections(100_000), key(5).id), 11)
    anew = msgspec.structs.replace(fewer, version=12)
    scripts = [b"".join(encoded(change)) for change in (whole(many), delta(many, fewer), whole(anew))]
    held = [0.0]
    state = (PLAIN, live(PLAIN, SETTINGS))
    del many, fewer, anew

    def swap(snapshot: Snapshot, cut: tuple[str, ...]) -> None:
        nonlocal state
        state = snapshot, live(snapshot, SETTINGS, state)

    async def run() -> None:
        loop, last = asyncio.get_running_loop(), time.thread_time()

        def turn() -> None:
            nonlocal last
            now = time.thread_time()
            held[0] = max(held[0], now - last)
            last = now
            loop.call_soon(turn)

        served = Served(loads)
        served.swap = swap  # type: ignore[method-assign]
        with control_side(tmp_path / "s", [piece for each in scripts for piece in (GO, each)]) as side:
            async with _following(served, tmp_path / "s", Begun(PLAIN, True, published=False)):
                await until(lambda: side.hellos)
                turn()
                for version in (10, 11, 12):
                    held[0] = 0.0
                    side.go()
                    await until(lambda: served.version == version, 30)  # noqa: B023
                    assert held[0] < most, f"version {version}: {held[0] * 1000:.1f} ms"

    _run(run())
    assert len(state[0].keys) == 99_999
