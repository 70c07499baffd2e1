"""Answers about stored objects say which one they are about; nothing else is read of them (D10)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gatehouse.dialects.answer import SilentMeter
from gatehouse.dialects.jobs import LONGEST
from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading

JSON = "application/json"


def read(dialect: Dialect, endpoint: str, body: bytes, *, kind: str = JSON, status: int = 200) -> Reading:
    meter = for_endpoint(dialect, endpoint).meter(Ask(endpoint), kind, status)
    for at in range(0, len(body), 1000):
        meter.feed(body[at : at + 1000])
    return meter.finish(complete=True)


@pytest.mark.parametrize(
    ("dialect", "endpoint", "answer", "expected"),
    [
        ("openai", "batches", {"id": "batch_1", "object": "batch", "status": "validating"}, "batch_1"),
        ("openai", "batches", {"object": "list", "data": [{"id": "batch_1"}]}, None),
        ("openai", "files", {"id": "file-1", "object": "file", "purpose": "batch"}, "file-1"),
        ("openai", "files", {"id": "file-1", "object": "file", "deleted": True}, "file-1"),
        ("openai", "fine_tuning", {"object": "fine_tuning.job", "id": "ftjob-1", "model": "m"}, "ftjob-1"),
        ("openai", "videos", {"id": "video_1", "object": "video"}, "video_1"),
        ("anthropic", "batches", {"id": "msgbatch_1", "type": "message_batch"}, "msgbatch_1"),
        ("anthropic", "files", {"data": [], "has_more": False}, None),
        ("google", "batches", {"name": "batches/1", "metadata": {}}, "batches/1"),
        ("google", "operations", {"name": "models/veo/operations/1", "done": False}, "models/veo/operations/1"),
        ("google", "files", {"file": {"name": "files/a"}}, "files/a"),
    ],
)
def test_the_answer_names_it(dialect: Dialect, endpoint: str, answer: dict[str, Any], expected: str | None) -> None:
    assert read(dialect, endpoint, json.dumps(answer).encode()) == Reading(job=expected)


def test_what_is_no_small_json_object_goes_by() -> None:
    named = b'{"id":"file-1"}'
    assert read("openai", "files", named, kind="application/octet-stream") == Reading()
    assert read("openai", "files", named, status=404) == Reading()
    for odd in (b"", b"[]", b"7", b"{", b'{"id":7}', b'{"id":""}', b'{"id":"x"}' + b" " * LONGEST):
        assert read("openai", "files", odd) == Reading(), odd[:20]
    assert isinstance(for_endpoint("openai", "models").meter(Ask("models"), JSON, 200), SilentMeter)
