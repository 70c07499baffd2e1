"""What this installation is. Standard library only."""

from __future__ import annotations

import importlib.util


def compiled() -> bool:
    """Whether the hot path was compiled when this was built."""
    found = importlib.util.find_spec("gatehouse.pipeline.serve")
    return found is not None and not str(found.origin).endswith(".py")
