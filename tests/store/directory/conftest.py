"""Directories whose tables are made: copies of one that was migrated once per session and database."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gatehouse.store.directory import access
from tests.store import databases
from tests.store.databases import Kind, Server


@pytest.fixture(scope="session")
def new_place(
    kind: Kind, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Path]:
    """Makes data directories, each with a directory of its own on the database of the day, and no store."""
    server: Server | None = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    first = databases.place(tmp_path_factory.mktemp(kind), None if server is None else server.create_empty())
    made = access.located(databases.url(first))
    asyncio.run(access.prepare(made))

    def new() -> Path:
        directory = tmp_path_factory.mktemp(kind)
        if server is not None:
            return databases.place(directory, server.create_empty(str(made.database)))
        shutil.copy(str(made.database), directory)
        return databases.place(directory, None)

    return new
