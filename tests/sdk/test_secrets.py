"""I3: after traffic with a different key in every place a client can put one, no file of the gateway holds any."""

from __future__ import annotations

from pathlib import Path

from tests.running import House, moment

CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
MESSAGE = b'{"model":"claude-sonnet-5","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'
CONTENT = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
GENERATE = "/google/v1beta/models/gemini-2.5-flash:generateContent"


def test_no_sink_holds_a_key(house: House) -> None:
    """Keys in headers, in the query however it is spelt, on answered, refused and failed calls alike."""
    secret = "callers-secret-%d"
    calls = [
        ("/openai/v1/chat/completions", CHAT, {"authorization": f"Bearer {secret % 1}"}),
        ("/anthropic/v1/messages", MESSAGE, {"x-api-key": secret % 2, "anthropic-version": "2023-06-01"}),
        ("/azure/res/gpt-4o-deploy/chat/completions?api-version=2024-10-21", CHAT, {"api-key": secret % 3}),
        (GENERATE, CONTENT, {"x-goog-api-key": secret % 4}),
        (f"{GENERATE}?key={secret % 5}", CONTENT, {}),
        (f"{GENERATE}?k%65y={secret % 6}&alt=json", CONTENT, {}),
        (f"/v1/chat/completions?key={secret % 7}", CHAT, {"authorization": f"Bearer {secret % 8}"}),
        ("/openai/v1/chat/completions", CHAT, {"authorization": f"Bearer gth_live_{secret % 9}" + "0" * 20}),
        (f"/openai/v1/models?token={secret % 10}", CHAT, {"authorization": f"Bearer {secret % 11}", "x-fake": "close"}),
    ]
    since = moment()
    answers = [house.gateway.call("POST", path, body, headers) for path, body, headers in calls]
    records = house.gateway.wait_records(since, len(calls))
    for record in records:
        house.gateway.stored(record.call)
    for _, headers, body in answers:
        assert b"callers-secret" not in body + str(headers).encode()
    assert _holders(house.gateway.data) == []
    assert "callers-secret" not in house.gateway.output.read_text(errors="replace")
    paths = [record.outcome.get("path") or record.decision.get("path") for record in records]
    assert any(path == GENERATE + "?alt=json" for path in paths), paths


def _holders(directory: Path) -> list[str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert len(files) > 5
    return [path.name for path in files if b"callers-secret" in path.read_bytes()]
