"""What `model_list` decodes."""

from __future__ import annotations

import msgspec


class Listed(msgspec.Struct):
    """A model in a list."""

    id: str | None = None
    name: str | None = None
