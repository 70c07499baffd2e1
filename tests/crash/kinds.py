"""The ways in which clients of a load call, and how each call ends if nothing else goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KIB = 1024


@dataclass(frozen=True)
class Kind:
    """One way to call, and how often (`weight`) it is chosen."""

    name: str
    weight: float = 1
    stream: bool = False
    fake: str = ""
    """How the upstream goes wrong: the fake's own header."""
    leaves: Literal["", "in the body", "at once", "midway"] = ""
    """The client goes: with half of its request sent, when all is sent, or with the first bytes of the answer."""
    stops_reading: bool = False
    """The client takes the first bytes of the answer and then no more, until it leaves at the end of the load."""
    padding: int = 16
    """Bytes of prompt."""
    answer: int = 0
    """Bytes of the answer, where they are asked for (`tests.crash.upstream`)."""
    path: str = "/openai/v1/chat/completions"
    content_type: str = "application/json"
    outcome: str = "ok"
    """How its call ends. `refused`: it never becomes a call of any upstream's."""
    asks: Literal["openai", "anthropic", "google", "embeddings"] = "openai"
    """In whose words its body asks."""

    @property
    def streams_up(self) -> bool:
        """Its body is passed through while it arrives: the decision does not have its hash."""
        return self.content_type != "application/json"


PLAIN = Kind("plain", 50)
STREAM = Kind("stream", 20, stream=True)
SLOW = Kind("slow", 10, stream=True, fake="slow=0.02")
LARGE = Kind("large", 3, padding=300 * KIB)
UPLOAD = Kind("upload", 2, padding=300 * KIB, path="/openai/v1/files", content_type="multipart/form-data; boundary=x")
OTHERS = (
    Kind("messages", 6, path="/anthropic/v1/messages", asks="anthropic"),
    Kind("messages, streamed", 6, stream=True, path="/anthropic/v1/messages", asks="anthropic"),
    Kind("content", 4, path="/google/v1beta/models/gemini-2.5-flash:generateContent", asks="google"),
    Kind(
        "content, streamed",
        4,
        path="/google/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        asks="google",
    ),
    Kind("embeddings", 6, path="/openai/v1/embeddings", asks="embeddings"),
)
"""Good calls in the other dialects."""
FAULTS = (
    Kind("fault: 500", 2, fake="error=500"),
    Kind("fault: cut stream", 1, stream=True, fake="cut=900", outcome="cut"),
    Kind("fault: reset answer", 1, fake="cut=100, reset", outcome="cut"),
    Kind("fault: no answer", 1, fake="close", outcome="upstream_error"),
)
LEAVERS = (
    Kind("leaves at once", 8, fake="silent", leaves="at once", outcome="client_gone"),
    Kind("leaves midway", 8, stream=True, fake="slow=0.1", leaves="midway", outcome="client_gone"),
)
HALF_SENT = (
    Kind("leaves in the body", 2, padding=300 * KIB, leaves="in the body", outcome="client_gone"),
    Kind(
        "leaves in an upload",
        2,
        padding=300 * KIB,
        leaves="in the body",
        path=UPLOAD.path,
        content_type=UPLOAD.content_type,
        outcome="client_gone",
    ),
)
REFUSED = Kind("refused", 1, path="/openai/../v1/chat/completions", outcome="refused")
