"""Node's clients, for tests: real packages, pinned by `node/package-lock.json`, installed once under `build/`.

They need Node and npm. Who has neither skips those tests; CI has both.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.sdk.installed import install, place

_HERE = Path(__file__).with_name("node")
needed = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm")


class Served(Protocol):
    """A gateway, whichever way it runs."""

    @property
    def url(self) -> str: ...


@functools.cache
def _folder() -> Path:
    """A folder with the packages of the lock file, made anew when the lock changes."""
    lock = _HERE / "package-lock.json"
    folder = place("node", lock.read_bytes())
    command = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    install(folder, (lock, _HERE / "package.json"), [command], 110)
    shutil.copy(_HERE / "clients.mjs", folder)
    return folder


def ask(client: str, house: Served, key: str, path: str = "") -> Any:
    """What a client of `clients.mjs` made of the answer to one call. `path`: of the base URL, if not ours."""
    done = subprocess.run(
        ["node", "clients.mjs", client, house.url, path],
        cwd=_folder(),
        env={**os.environ, "CALLER_KEY": key},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
