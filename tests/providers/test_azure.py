"""Azure refuses arguments an `api-version` does not have: `stream_options` only where it exists."""

from __future__ import annotations

import pytest

from gatehouse.model.call import Origin, Route
from gatehouse.providers.azure import takes_stream_options


@pytest.mark.parametrize(
    ("path", "query", "takes"),
    [
        ("/openai/deployments/d/chat/completions", "api-version=2024-02-01", False),
        ("/openai/deployments/d/chat/completions", "api-version=2024-08-01-preview", False),
        ("/openai/deployments/d/chat/completions", "api-version=2024-09-01-preview", True),
        ("/openai/deployments/d/chat/completions", "api-version=2024-10-21", True),
        ("/openai/deployments/d/chat/completions", "api%2Dversion=2025-04-01-preview", True),
        ("/openai/deployments/d/chat/completions", "", False),
        ("/openai/deployments/d/chat/completions", "api-version=latest", False),
        ("/openai/deployments/d/chat/completions", "api-version=2025-01-01&api-version=2023-05-15", False),
        ("/openai/v1/chat/completions", "", True),
        ("/proxy/openai/v1/chat/completions", "api-version=v1", True),
        ("/openai/deployments/d/completions", "api-version=2024-10-21", False),
        ("/openai/v1/completions", "", True),
    ],
)
def test_stream_options(path: str, query: str, takes: bool) -> None:
    origin = Origin("https", "r.openai.azure.com", 443)
    endpoint = "chat" if "chat" in path else "completions"
    route = Route("transparent", "azure", "openai", endpoint, path, origin, "/azure/r")
    assert takes_stream_options(route, query) is takes
