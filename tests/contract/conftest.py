"""The gateway that the quickstarts of the replaced systems run against, and the marker for what comes later.

Each `test_NNN_*` module belongs to one system and holds one test per code block of its pages, named after the page's
number and the block: their calls in our words, with only host and key replaced. The third system's page has no code.

`@pytest.mark.pending(stage=...)` names the stage that delivers a block. Such a test runs and must fail (an unexpected
pass fails the suite: the marker has to go then); with `runs=False` it needs what this machine has not and is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import running
from tests.contract import accounts
from tests.contract.accounts import Accounts
from tests.running import House


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        pending = item.get_closest_marker("pending")
        if pending is None:
            continue
        reason = f"delivered by {pending.kwargs['stage']}"
        if pending.kwargs.get("runs", True):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        else:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="package")
def running_house() -> Iterator[House]:
    with running.house() as started:
        yield started


@pytest.fixture
def house(running_house: House) -> Iterator[House]:
    running_house.reset()
    yield running_house
    running_house.reset()


@pytest.fixture(scope="package")
def running_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    with accounts.accounts(tmp_path_factory.mktemp("accounts") / "data") as started:
        yield started


@pytest.fixture
def tenant(running_accounts: Accounts) -> Iterator[Accounts]:
    """The same gateway with accounts."""
    running_accounts.house.reset()
    yield running_accounts
    running_accounts.house.reset()
