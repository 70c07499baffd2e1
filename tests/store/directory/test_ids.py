"""Ids tell their kind, sort by time and are never made twice."""

from __future__ import annotations

import time

import pytest

from gatehouse.store.directory import ids


def test_an_id_is_a_prefix_and_a_uuid7_that_sorts_by_time() -> None:
    made = []
    for _ in range(50):
        made.append(ids.new("key"))
        time.sleep(0.000_01)
    assert made == sorted(set(made))
    assert all(ids.is_id("key", each) and len(each) == 30 for each in made)


def test_a_uuid7_has_the_time_the_version_and_the_variant() -> None:
    before = time.time_ns() // 1_000_000
    made = ids.uuid7()
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


@pytest.mark.parametrize("text", ["", "key_", "prj_" + "0" * 26, "key_" + "U" * 26, "key_" + "8" * 26, "default"])
def test_what_is_no_id_of_a_key(text: str) -> None:
    assert not ids.is_id("key", text)
    with pytest.raises(ValueError, match="no id of a key"):
        ids.require("key", text)


def test_the_first_tenant_and_project_are_called_default() -> None:
    assert ids.is_id("tenant", "default")
    assert ids.is_id("project", "default")
