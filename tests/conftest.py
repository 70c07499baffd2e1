"""What tests of several directories share: stores on every database, and the PostgreSQL and Valkey some of them are on.

Random examples have no deadline: a machine that stands still for a second has found no bug.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.limits.shared.servers import Valkey, valkey
from tests.store import databases
from tests.store.databases import KINDS, Kind, NoServerError, Server

LONG = (
    "cli/test_administration_page.py",
    "cli/test_administering.py",
    "store/test_rollups.py",
    "store/test_analytics.py",
    "store/test_sight.py",
    "control/test_parquet.py",
    "sdk/test_frameworks.py",
    "sdk/test_node.py",
)
"""And `crash/`: a quarter of a minute and more a file."""

settings.register_profile("gatehouse", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gatehouse")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A running server for the whole session."""
    try:
        with databases.server() as server:
            yield server
    except NoServerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Whoever asks for this, or for what needs it, runs once per database."""
    found: Kind = request.param
    return found


@pytest.fixture(scope="session")
def new_place(
    kind: Kind, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Makes data directories, each with a store of its own on the database of the day."""
    server: Server | None = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    return lambda: databases.place(tmp_path_factory.mktemp(kind), None if server is None else server.create())


@pytest.fixture(scope="module")
def valkey_server() -> Iterator[Valkey]:
    """A Valkey for the tests of a file."""
    with valkey() as running:
        yield running


@pytest.fixture
def place(new_place: Callable[[], Path]) -> Path:
    """A data directory."""
    return new_place()


@pytest.fixture
def empty_place(kind: Kind, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory whose store has no tables yet."""
    server: Server | None = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    return databases.place(tmp_path, None if server is None else server.create_empty())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Some ten thousand tests and what they import stay to the end: no garbage collection looks through them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long goes first: begun last, it would leave the other processes with nothing to do."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG) and item.path.parent.name != "crash")
