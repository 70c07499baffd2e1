"""What tests of several directories share: stores on every database, and the PostgreSQL that some of them are on.

Random examples have no deadline: a machine that stands still for a second has found no bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.store import databases
from tests.store.databases import KINDS, Kind, NoServerError, Server

LONG = ("sdk/test_frameworks.py", "sdk/test_node.py", "cli/test_administration_page.py", "store/test_sight.py")
"""And `crash/`: half a minute and more a file."""

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


@pytest.fixture
def place(new_place: Callable[[], Path]) -> Path:
    """A data directory."""
    return new_place()


@pytest.fixture
def empty_place(kind: Kind, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data directory whose store has no tables yet."""
    server: Server | None = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    return databases.place(tmp_path, None if server is None else server.create_empty())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long goes first: begun last, it would leave the other process with nothing to do."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG) and item.path.parent.name != "crash")
