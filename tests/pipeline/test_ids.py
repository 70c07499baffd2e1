"""Call ids are UUIDv7, unique and in order of time."""

from __future__ import annotations

import time
import uuid

from gatehouse.pipeline.ids import CallIds


def test_they_are_uuids_of_version_7() -> None:
    made = uuid.UUID(CallIds().next())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert abs((made.int >> 80) - time.time_ns() // 1_000_000) < 1000


def test_they_are_unique_also_between_processes() -> None:
    makers = [CallIds() for _ in range(4)]
    made = [maker.next() for _ in range(5000) for maker in makers]
    assert len(set(made)) == len(made)
    assert {len(each) for each in made} == {36}


def test_they_sort_by_time() -> None:
    ids = CallIds()
    first = ids.next()
    time.sleep(0.002)
    assert first < ids.next()
