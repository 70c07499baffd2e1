"""`docs/clients.md`: every base URL on it leads to its provider, to an endpoint that is metered, with one version."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.routing.routers import route, router

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
GATEWAY = "http://127.0.0.1:8080"
TABLE = router()
METERED = {"chat", "responses", "messages", "generate_content"}
ROWS = [
    (base, call)
    for base, calls in re.findall(rf"^\| [^|]+ \| `{GATEWAY}([^`]+)` \| ([^|]+) \|$", PAGE, re.MULTILINE)
    for call in re.findall(r"`POST ([^`]+)`", calls)
]


@pytest.mark.parametrize(("base", "call"), ROWS)
def test_a_base_leads_to_its_provider(base: str, call: str) -> None:
    found = route(TABLE, base + call)
    assert found.provider == base.split("/")[1]
    assert found.endpoint in METERED
    assert len(re.findall(r"/v\d+(?:beta)?/", found.path)) == (found.provider != "azure")


def test_the_table_has_every_base_on_the_page() -> None:
    named = {url.rstrip("\\") for url in re.findall(rf'{GATEWAY}([^\s`"]+)', PAGE)}
    assert named == {base for base, _ in ROWS}
    assert len(ROWS) >= 8
