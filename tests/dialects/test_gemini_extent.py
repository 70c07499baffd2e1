"""How large Gemini's requests may become. Forms: `google.genai.types`, made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gatehouse.dialects.extent import UNREAD
from gatehouse.dialects.gemini_extent import cache_extent, embedding_extent, generate_extent
from gatehouse.model.call import Extent

DATA = "iVBORw0KGgo" * 40


def ask(*parts: Any, **more: Any) -> Extent:
    return generate_extent(json.dumps({"contents": [{"role": "user", "parts": list(parts)}], **more}).encode())


def test_text_is_its_bytes() -> None:
    found = ask(
        {"text": "hi", "thought": True, "thoughtSignature": "x"},
        {"functionCall": {"name": "f", "args": {"fileData": {"fileUri": "x"}}}},
        {"functionResponse": {"name": "f", "response": {"inlineData": 1}}},
        {"inlineData": {"mimeType": "text/plain", "data": "aGk="}},
        systemInstruction={"parts": [{"text": "be"}]},
        tools=[{"functionDeclarations": [{"name": "f"}]}],
    )
    assert found == Extent(found.size, tools=True)


@pytest.mark.parametrize(
    "part",
    [
        {"inlineData": {"mimeType": "image/png", "data": DATA}},
        {"inline_data": {"mime_type": "image/png", "data": DATA}},
    ],
)
def test_images_in_both_spellings(part: dict[str, Any]) -> None:
    found = ask(part, part)
    assert (found.images, found.inline, found.dear, found.window) == (2, 2 * (len(DATA) + 2), True, False)
    alone = generate_extent(json.dumps({"contents": {"parts": part}}).encode())
    assert alone.images == 1


def test_audio_is_its_bytes() -> None:
    found = ask({"inlineData": {"mimeType": "audio/ogg", "data": DATA}})
    assert (found.dear, found.inline, found.window) == (True, 0, False)


@pytest.mark.parametrize(
    ("part", "stored"),
    [
        ({"fileData": {"fileUri": "https://x"}}, True),
        ({"file_data": {"file_uri": "https://x"}}, True),
        ({"inlineData": {"mimeType": "video/mp4", "data": "AA"}}, False),
        ({"inlineData": {"mimeType": "application/pdf", "data": "AA"}}, False),
        ({"inlineData": {"data": "AA"}}, False),
        (
            {"functionResponse": {"name": "f", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}},
            False,
        ),
    ],
)
def test_what_nobody_can_measure_is_the_window(part: dict[str, Any], stored: bool) -> None:
    assert (ask(part).window, ask(part).stored) == (True, stored)
    said = generate_extent(json.dumps({"contents": [], "system_instruction": {"parts": [part]}}).encode())
    assert said.window


@pytest.mark.parametrize("name", ["cachedContent", "cached_content", "continuationToken"])
def test_what_the_provider_adds_is_the_window(name: str) -> None:
    found = ask({"text": "x"}, **{name: "cachedContents/1"})
    assert (found.window, found.stored) == (True, True)


@pytest.mark.parametrize(
    ("tool", "stored"),
    [("googleSearch", False), ("code_execution", False), ("fileSearch", True), ("retrieval", True), ("new", True)],
)
def test_tools_of_the_provider_may_work_on_what_it_keeps(tool: str, stored: bool) -> None:
    assert ask({"text": "x"}, tools=[{tool: {}}]).stored is stored


@pytest.mark.parametrize("name", ["googleSearch", "google_search", "codeExecution", "urlContext", "fileSearch", "new"])
def test_tools_of_the_provider_have_no_maximum(name: str) -> None:
    assert f"`{name}`" in str(ask({"text": "x"}, tools=[{"functionDeclarations": []}, {name: {}}]).unbounded)
    assert f"`{name}`" in str(ask({"text": "x"}, tools={name: {}}).unbounded)
    assert cache_extent(json.dumps({"contents": [], "tools": [{name: {}}]}).encode()).unbounded is None


@pytest.mark.parametrize("name", ["serviceTier", "service_tier"])
def test_service_beyond_the_list_price_has_no_bound_i4(name: str) -> None:
    """`google.genai.types.ServiceTier`, in any capitals."""
    for tier in ("flex", "STANDARD", "unspecified", None):
        assert ask({"text": "x"}, **{name: tier}).unbounded is None
    for dear in ("priority", "Priority", "new", 1):
        assert "`serviceTier`" in str(ask({"text": "x"}, **{name: dear}).unbounded)


def test_embeddings_of_text_and_of_anything_else() -> None:
    text = b'{"requests":[{"model":"models/m","content":{"parts":[{"text":"hi"}]}}]}'
    assert embedding_extent(text) == Extent(len(text))
    for part in (b'{"inlineData":{}}', b'{"file_data":{}}', b'{"\\u0066ileData":{}}'):
        assert embedding_extent(text.replace(b'{"text":"hi"}', part)).unbounded


def test_what_is_no_request_is_nobodys_to_bound() -> None:
    assert generate_extent(b'{"contents":"hi"}').unbounded == UNREAD
