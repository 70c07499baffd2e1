"""The server of a file's tests, emptied before each."""

from __future__ import annotations

import pytest

from tests.limits.shared.servers import Valkey


@pytest.fixture
def on(valkey_server: Valkey) -> Valkey:
    valkey_server.client().flushall()
    return valkey_server
