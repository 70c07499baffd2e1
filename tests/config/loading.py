"""The settings alone, without flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gatehouse.config.load import resolve
from gatehouse.config.settings import Settings


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    return resolve(path, environ, ()).settings
