"""`gatehouse version`."""

from __future__ import annotations

import json

from gatehouse import __version__
from tests.cli.conftest import Cli


def test_text(cli: Cli) -> None:
    assert cli("version") == (0, f"gatehouse {__version__}\n", "")


def test_json(cli: Cli) -> None:
    said = json.loads(cli("version", "--format", "json").out)
    assert said["gatehouse"] == __version__
    assert set(said) == {"gatehouse", "python", "implementation", "compiled", "platform", "machine"}
