"""Providers that speak WebSocket, on the `websockets` library: OpenAI's realtime and responses, Gemini's Live.

Events by `openai.types.realtime` (`realtime_server_event`), `openai.types.responses.responses_server_event` and
`google.genai.types.LiveServerMessage`; Gemini's in binary frames, as Google sends them.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.sync.server import ServerConnection, serve

MODEL = "gpt-4o-realtime-preview"
REALTIME_USAGE = {
    "input_tokens": 100,
    "output_tokens": 20,
    "total_tokens": 120,
    "input_token_details": {"text_tokens": 60, "audio_tokens": 40, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
}
RESPONSE_USAGE = {
    "input_tokens": 11,
    "output_tokens": 7,
    "total_tokens": 18,
    "input_tokens_details": {"cached_tokens": 3},
    "output_tokens_details": {"reasoning_tokens": 2},
}
LIVE_USAGE = {"promptTokenCount": 30, "responseTokenCount": 4, "totalTokenCount": 34}


class Talker:
    """One provider of all three. `requests`: the handshakes it saw."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.url = ""

    def talk(self, connection: ServerConnection) -> None:
        request = connection.request
        assert request is not None
        self.requests.append(request)
        path = request.path.partition("?")[0]
        with contextlib.suppress(ConnectionClosed):
            if path.startswith("/ws/"):
                self._live(connection)
            elif path.endswith("/realtime"):
                self._realtime(connection)
            else:
                self._responses(connection)

    def _realtime(self, connection: ServerConnection) -> None:
        _say(connection, type="session.created", event_id="e0", session={"type": "realtime", "model": MODEL})
        for number, message in enumerate(connection):
            if json.loads(message)["type"] != "response.create":
                continue
            name = f"resp_{number}"
            response: dict[str, Any] = {"object": "realtime.response", "id": name, "status": "in_progress"}
            _say(connection, type="response.created", event_id="e1", response=response)
            _say(connection, type="response.output_text.delta", event_id="e2", response_id=name, delta="Hello ☃")
            response = {**response, "status": "completed", "usage": REALTIME_USAGE, "output": []}
            _say(connection, type="response.done", event_id="e3", response=response)

    def _responses(self, connection: ServerConnection) -> None:
        for number, message in enumerate(connection):
            asked = json.loads(message)
            assert asked["type"] == "response.create"
            response: dict[str, Any] = {
                "id": f"resp_{number}", "object": "response", "model": asked["model"], "status": "in_progress",
                "output": [], "created_at": 1, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            }  # fmt: skip
            _say(connection, type="response.created", sequence_number=0, response=response)
            _say(
                connection, type="response.output_text.delta", sequence_number=1, item_id="m", output_index=0,
                content_index=0, delta="Hello", logprobs=[],
            )  # fmt: skip
            response = {**response, "status": "completed", "usage": RESPONSE_USAGE}
            _say(connection, type="response.completed", sequence_number=2, response=response)

    def _live(self, connection: ServerConnection) -> None:
        assert "setup" in json.loads(connection.recv())
        _send(connection, {"setupComplete": {}})
        for _ in connection:
            _send(connection, {"serverContent": {"modelTurn": {"role": "model", "parts": [{"text": "Hello"}]}}})
            _send(connection, {"serverContent": {"turnComplete": True}, "usageMetadata": LIVE_USAGE})


def _say(connection: ServerConnection, **event: Any) -> None:
    connection.send(json.dumps(event))


def _send(connection: ServerConnection, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message).encode())


@contextlib.contextmanager
def talker() -> Iterator[Talker]:
    made = Talker()
    with serve(made.talk, "127.0.0.1", 0) as server:
        made.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()
