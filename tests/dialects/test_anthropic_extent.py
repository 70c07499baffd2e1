"""How large Anthropic's requests may become. Forms: `anthropic.types` and its beta types, made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gatehouse.dialects.anthropic_extent import messages_extent
from gatehouse.dialects.extent import UNREAD
from gatehouse.model.call import Extent

DATA = "iVBORw0KGgo" * 40
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}}


def ask(*content: Any, **more: Any) -> Extent:
    turns = [{"role": "user", "content": each} for each in content]
    return messages_extent(json.dumps({"model": "m", "max_tokens": 5, "messages": turns, **more}).encode())


def test_text_is_its_bytes() -> None:
    blocks = [
        {"type": "text", "text": "hi"},
        {"type": "thinking", "thinking": "…", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"type": "image", "source": "x"}},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "42"}]},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "hi"}]}},
        {"type": "search_result", "source": "https://x", "title": "t", "content": [{"type": "text", "text": "hi"}]},
    ]
    found = ask("hi", blocks, system=[{"type": "text", "text": "be"}])
    assert found == Extent(found.size)


def test_images_wherever_they_stand() -> None:
    found = ask(
        [IMAGE], [{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE, {"type": "text", "text": "x"}]}]
    )
    assert (found.images, found.inline, found.dear, found.window) == (2, 2 * (len(DATA) + 2), True, False)


@pytest.mark.parametrize(
    ("block", "stored"),
    [
        ({"type": "image", "source": {"type": "url", "url": "https://x"}}, False),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, True),
        ({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}}, False),
        ({"type": "document", "source": {"type": "url", "url": "https://x"}}, False),
        ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, True),
        ({"type": "container_upload", "file_id": "file_1"}, True),
        ({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, False),
        ({"type": "something_new"}, False),
    ],
)
def test_what_nobody_can_measure_is_the_window(block: dict[str, Any], stored: bool) -> None:
    assert (ask([block]).window, ask([block]).stored) == (True, stored)
    nested = ask([{"type": "tool_result", "tool_use_id": "t", "content": [block]}])
    assert (nested.window, nested.stored) == (True, stored)


def test_results_nested_however_deep() -> None:
    def nested(depth: int, inner: str) -> bytes:
        return b'{"messages":[{"content":[%b%b%b]}]}' % (
            b'{"type":"tool_result","content":[' * depth,
            inner.encode(),
            b"]}" * depth,
        )

    assert messages_extent(nested(9, json.dumps(IMAGE))).images == 1
    assert messages_extent(nested(3000, json.dumps(IMAGE))).unbounded == UNREAD


def test_tools() -> None:
    """Types: `anthropic.types.tool_union_param`."""
    callers = ["custom", None, "bash_20250124", "text_editor_20250728", "memory_20250818", "computer_20251124"]
    found = ask("hi", tools=[{"name": "f", "type": kind} for kind in callers] + [{"name": "g"}])
    assert (found.tools, found.unbounded, found.rounds) == (True, None, 0)
    capped = ask(
        "hi",
        tools=[
            {"type": "web_search_20260318", "name": "web_search", "max_uses": 3},
            {"type": "web_fetch_20260318", "name": "web_fetch", "max_uses": 2},
        ],
    )
    assert (capped.searches, capped.rounds, capped.unbounded) == (3, 5, None)
    assert "max_uses" in str(ask("hi", tools=[{"type": "web_search_20250305", "name": "w"}]).unbounded)
    for kind in ("code_execution_20260521", "mcp_toolset", "tool_search_tool_regex_20251119", "advisor_20260301"):
        assert kind in str(ask("hi", tools=[{"type": kind, "name": "x"}]).unbounded)


@pytest.mark.parametrize(
    ("member", "bounded"),
    [
        ({"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}, False),
        ({"mcp_servers": []}, True),
        ({"fallbacks": [{"model": "claude-opus-5"}]}, False),
        ({"fallbacks": "default"}, False),
        ({"container": "container_1"}, False),
        ({"compaction": {"type": "auto"}}, False),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, False),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}, True),
        ({"speed": "fast"}, False),
        ({"speed": "standard"}, True),
        ({"inference_geo": "us"}, False),
        ({"inference_geo": "global", "service_tier": "auto"}, True),
        ({"thinking": {"type": "adaptive"}, "metadata": {"user_id": "x"}}, True),
    ],
)
def test_what_makes_a_request_unbounded(member: dict[str, Any], bounded: bool) -> None:
    assert (ask("hi", **member).unbounded is None) is bounded


def test_what_is_no_request_is_nobodys_to_bound() -> None:
    assert messages_extent(b'{"messages":[1]}').unbounded == UNREAD
