"""The documentation's table of providers is the table the gateway routes by."""

from __future__ import annotations

import re
from pathlib import Path

from gatehouse.config.settings import Settings
from gatehouse.providers.entries import entries

DOCS = Path(__file__).parents[2] / "docs" / "providers.md"
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (\w+) \| (?:`([^`]+)`|inside the worker) \| (?:`([^`]+)`|–) \|(.*)\|$", re.M)


def test_every_provider_is_documented_as_it_is() -> None:
    rows = {name: rest for name, *rest in _ROW.findall(DOCS.read_text())}
    found = entries(Settings())
    assert list(rows) == list(found)
    for name, (dialect, base_url, version, know) in rows.items():
        entry = found[name]
        host = f"https://{entry.host_template}" if entry.host_template else str(entry.origin)
        assert dialect == entry.dialect
        assert base_url == ("" if name == "simulated" else host + entry.base_path)
        assert version == entry.version
        assert ("local" in know) is entry.private
        assert ("usage" in know) is not entry.ask_usage
