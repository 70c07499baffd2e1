"""What a request on the control socket says besides what its caller sent: the names of these headers.

Here because those who set them (workers, the command line) and control, which believes them, share no other place.
Workers take what callers send under these names off a request before they add theirs.
"""

from __future__ import annotations

from typing import Final

PEER: Final = "x-gatehouse-peer"
"""From a worker, on every request: the caller's address, empty where it is not known."""
BASE: Final = "x-gatehouse-base"
"""Scheme and authority that the request came to."""
JOURNAL: Final = "x-gatehouse-journal"
"""From a worker: the state of its journal and why, where it takes no calls."""

LOCAL_TOKEN: Final = "x-gatehouse-local-token"  # noqa: S105 - a name
"""The bytes of `DataDir.local_token` as hex: from whoever may read the data directory."""
TENANT: Final = "x-gatehouse-tenant"
"""In which tenant the operator acts; the parameter `tenant` does the same."""
