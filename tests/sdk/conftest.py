"""One gateway and four fakes for all SDK tests; each test starts with fakes that behave and remember nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import running
from tests.running import House


@pytest.fixture(scope="package")
def running_house() -> Iterator[House]:
    with running.house() as started:
        yield started


@pytest.fixture
def house(running_house: House) -> Iterator[House]:
    running_house.reset()
    yield running_house
    running_house.reset()
