"""The one way in which `serve` fails that is nobody's configuration."""

from __future__ import annotations


class StartError(Exception):
    """Gatehouse cannot start: `str(error)` says why and what to do, for the operator. Exit code 1."""
