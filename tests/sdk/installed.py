"""Packages that tests install for themselves: once, under `build/`, and anew when what pins them changes."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

_BUILD = Path(__file__).parents[2] / "build"


def place(name: str, *pins: bytes) -> Path:
    """Where packages with these pins belong. `name`: of the folder under `build/`."""
    return _BUILD / name / hashlib.sha256(b"".join(pins)).hexdigest()[:16]


def install(folder: Path, files: Iterable[Path], commands: Iterable[Sequence[str]], seconds: int) -> None:
    """Fill `folder`, unless it is: copy `files` into it and run each command there, for `seconds` at most."""
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder)
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)
        assert done.returncode == 0, done.stderr
    (folder / "done").touch()
