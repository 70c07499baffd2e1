"""gateway/background.py: which calls began responses in the background, on disk: kept, taken once, bounded."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gatehouse.gateway.background import KeptBackground
from gatehouse.model.background import KEPT_SECONDS, Begun, Response
from gatehouse.model.limits import Settled

T = TypeVar("T")
ONE = Response("ten", "prj", "openai", "resp_1")
BEGUN = Begun("0192-call", 1_763_000_000.5, 7_000_000, "v1", True, (Settled("ten/key/k/spend/total", "", 9, 9),))


def do(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptBackground]:
    made = KeptBackground(tmp_path / "background")
    yield made
    do(made.close())


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_what_is_kept_is_taken_once_by_whichever_worker(tmp_path: Path, kept: KeptBackground) -> None:
    other = KeptBackground(tmp_path / "background")
    do(kept.keep(ONE, BEGUN))
    assert do(other.take(ONE)) == BEGUN
    assert do(kept.take(ONE)) is None and do(other.take(ONE)) is None
    assert files(tmp_path) == []
    do(other.close())


def test_it_is_that_project_s_and_that_provider_s_response_and_no_other(kept: KeptBackground) -> None:
    do(kept.keep(ONE, BEGUN))
    for field, value in ONE._asdict().items():
        assert do(kept.take(ONE._replace(**{field: value + "x"}))) is None
    assert do(kept.take(Response("ten", "prjopenai", "", "resp_1"))) is None
    assert do(kept.take(ONE)) == BEGUN


def test_the_files_are_private_and_name_nothing(tmp_path: Path, kept: KeptBackground) -> None:
    do(kept.keep(Response("../..", "/etc", "\0", "../\ud800"), BEGUN))
    (path,) = files(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.is_relative_to(tmp_path / "background") and all(part.isalnum() for part in path.parts[-2:])


def test_one_that_cannot_be_read_is_said_and_gone(
    tmp_path: Path, kept: KeptBackground, caplog: pytest.LogCaptureFixture
) -> None:
    do(kept.keep(ONE, BEGUN))
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    assert do(kept.take(ONE)) is None
    assert "cannot be told" in caplog.text and files(tmp_path) == []


def test_of_a_project_only_so_many_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    kept = KeptBackground(tmp_path / "background", most=16)
    other = ONE._replace(project="other")
    do(kept.keep(other, BEGUN))
    now = time.time()
    for number in range(20):
        do(kept.keep(ONE._replace(id=f"resp_{number}"), BEGUN))
        newest = max(files(tmp_path), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (now - 100 + number, now - 100 + number))
    assert len(files(tmp_path)) == 16 + 1
    assert [do(kept.take(ONE._replace(id=f"resp_{number}"))) is None for number in range(6)] == [True] * 4 + [False] * 2
    assert do(kept.take(other)) == BEGUN, "who has few loses none"
    do(kept.close())


def test_workers_beside_each_other_do_not_stumble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While one looks what is too many, another keeps and takes."""
    ends = time.monotonic() + 1.0

    async def busy(name: str) -> None:
        kept = KeptBackground(tmp_path / "background", most=4)
        number = 0
        while time.monotonic() < ends:
            number += 1
            mine = ONE._replace(id=f"{name}_{number}")
            await kept.keep(mine, BEGUN)
            if number % 2:
                await kept.take(mine)
        await kept.close()

    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda name: asyncio.run(busy(name)), ("a", "b")))
    assert caplog.text == ""


def test_what_is_older_than_the_provider_keeps_it_goes_when_the_next_worker_keeps_one(
    tmp_path: Path, kept: KeptBackground
) -> None:
    do(kept.keep(ONE, BEGUN))
    (path,) = files(tmp_path)
    old = time.time() - KEPT_SECONDS - 60
    for each in (path, path.parent):
        os.utime(each, (old, old))
    (tmp_path / "background" / ".DS_Store").write_text("no directory")
    next_one = KeptBackground(tmp_path / "background")
    do(next_one.keep(ONE._replace(project="another", id="resp_2"), BEGUN))
    do(next_one.close())
    assert not path.parent.exists()
    assert do(kept.take(ONE)) is None and do(kept.take(ONE._replace(project="another", id="resp_2"))) == BEGUN


def test_what_cannot_be_kept_or_taken_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "background").write_text("in the way")
    kept = KeptBackground(tmp_path / "background")
    for _ in range(2):
        do(kept.keep(ONE, BEGUN))
    for _ in range(2):
        assert do(kept.take(ONE)) is None
    do(kept.close())
    assert caplog.text.count("cannot be counted") == 1 and caplog.text.count("cannot be told") == 1
