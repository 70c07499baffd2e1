"""Only callers on this machine, until there are accounts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.control.serving import api

PATHS = ("/api/v1/traces", "/api/v1/traces/x", "/api/v1/openapi.json", "/api/v1/nothing", "/", "/health/", "//health")


def test_callers_elsewhere_and_strangers_on_the_socket_are_refused(tmp_path: Path) -> None:
    """HARD-PARTS 5.2: whatever the path; without the worker's header there is no caller at all."""
    strangers: list[list[tuple[str, str]]] = [
        [("x-gatehouse-peer", "203.0.113.9")],
        [("x-gatehouse-peer", "")],
        [("x-gatehouse-peer", "127.0.0.1"), ("x-gatehouse-peer", "127.0.0.1")],
        [("x-gatehouse-peer", "127.0.0.1"), ("X-Gatehouse-Peer", "203.0.113.9")],
        [("x-forwarded-for", "127.0.0.1")],
        [("host", "localhost")],
        [],
    ]

    async def run() -> None:
        async with api(tmp_path) as client:
            client.headers.pop("x-gatehouse-peer")
            for headers in strangers:
                for path in PATHS:
                    response = await client.get(path, headers=headers)
                    assert response.status_code == 403, (headers, path)
                    body = response.json()
                    assert set(body) == {"detail", "code", "retry_after", "errors"}
                    assert body["code"] == "FORBIDDEN"
            assert (await client.get("/health")).status_code == 403
            assert (await client.get("/health", headers=strangers[0])).status_code == 200

    asyncio.run(run())
