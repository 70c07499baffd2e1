"""Ids of a call's spans: the data plane sends one upstream, the store keeps them."""

from __future__ import annotations

import hashlib
from typing import Final

SERVER: Final = 0
CLIENT: Final = 1


def span_id(call: str, position: int) -> str:
    """A W3C span id, 16 hex digits, always the same for the same span."""
    return hashlib.blake2b(f"{call}/{position}".encode(), digest_size=8).hexdigest()
