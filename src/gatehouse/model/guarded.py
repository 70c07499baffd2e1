"""Values that hold something secret, or what a secret is checked against."""

from __future__ import annotations

from typing import Any

import msgspec


class Guarded(msgspec.Struct, frozen=True):
    """Not printed by accident: neither in a log nor in a traceback."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []
