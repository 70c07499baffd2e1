"""What happens to a request's body, decided on the head."""

from __future__ import annotations

import pytest

from gatehouse.routing.bodies import body_plan, is_upload
from tests.routing.routers import route, router

TABLE = router()
JSON = b"application/json"
FORM = b"multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("path", "method", "content_type", "plan", "upload"),
    [
        ("/openai/v1/chat/completions", b"POST", JSON, "whole", False),
        ("/openai/v1/chat/completions", b"POST", None, "whole", False),
        ("/openai/v1/chat/completions", b"POST", b"application/x-www-form-urlencoded", "whole", False),
        ("/openai/v1/chat/completions", b"POST", FORM, "whole", True),
        ("/openai/v1/chat/completions", b"POST", b"application/octet-stream", "whole", True),
        ("/openai/v1/chat/completions", b"GET", None, "none", False),
        ("/openai/v1/embeddings", b"POST", JSON, "whole", False),
        ("/openai/v1/responses", b"POST", JSON, "whole", False),
        ("/openai/v1/responses/r_1", b"DELETE", None, "stream", False),
        ("/openai/v1/files", b"POST", FORM, "stream", True),
        ("/openai/v1/files/f", b"DELETE", None, "stream", True),
        ("/openai/v1/uploads/u/parts", b"POST", FORM, "stream", True),
        ("/openai/v1/audio/transcriptions", b"POST", b"Multipart/Form-Data; boundary=x", "stream", True),
        ("/openai/v1/audio/speech", b"POST", JSON, "whole", False),
        ("/openai/v1/audio/voices", b"POST", JSON, "stream", False),
        ("/openai/v1/images/generations", b"POST", JSON, "whole", False),
        ("/openai/v1/images/generations", b"GET", None, "none", False),
        ("/openai/v1/images/edits", b"POST", JSON, "whole", False),
        ("/openai/v1/images/variations", b"POST", FORM, "stream", True),
        ("/openai/v1/images/edits", b"POST", FORM, "stream", True),
        ("/openai/v1/batches", b"POST", JSON, "stream", True),
        ("/openai/v1/fine_tuning/jobs", b"POST", JSON, "stream", False),
        ("/openai/v1/models", b"GET", None, "none", False),
        ("/openai/v1/models", b"HEAD", None, "none", False),
        ("/anthropic/v1/messages", b"POST", JSON, "whole", False),
        ("/anthropic/v1/messages/count_tokens", b"POST", JSON, "whole", False),
        ("/anthropic/v1/messages/batches", b"POST", JSON, "stream", True),
        ("/anthropic/v1/files", b"POST", FORM, "stream", True),
        ("/google/v1beta/models/m:streamGenerateContent", b"POST", JSON, "whole", False),
        ("/google/v1beta/models/m:embedContent", b"POST", JSON, "whole", False),
        ("/google/v1beta/models/m:batchEmbedContents", b"POST", JSON, "whole", False),
        ("/google/v1beta/cachedContents", b"POST", JSON, "whole", False),
        ("/google/v1beta/cachedContents/c1", b"PATCH", JSON, "stream", False),
        ("/google/upload/v1beta/files", b"POST", b"text/plain", "stream", True),
        ("/azure/r/d/chat/completions", b"POST", JSON, "whole", False),
    ],
)
def test_plan(path: str, method: bytes, content_type: bytes | None, plan: str, upload: bool) -> None:
    found = route(TABLE, path, method)
    assert body_plan(found, method, content_type) == plan
    assert is_upload(found, method, content_type) is upload
