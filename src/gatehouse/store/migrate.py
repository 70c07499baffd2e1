"""Brings the store's tables to this release's. Alembic without its command line or configuration file.

Rules: one transaction, so that a failed migration leaves the tables as they were. Loaded only when there is something
to do (`version.ensure`): Alembic costs 80 ms and 10 MB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from gatehouse.store.engine import sort_by_bytes
from gatehouse.store.schema import metadata

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def scripts() -> ScriptDirectory:
    """The migrations of this release."""
    return ScriptDirectory(str(_MIGRATIONS))


def upgrade(connection: Connection) -> None:
    """Run every migration that `connection`'s database has not seen, in its open transaction.

    Raises what the driver raises; `alembic.util.CommandError` for a revision this release does not know.
    """
    script = scripts()
    with EnvironmentContext(
        Config(),
        script,
        fn=lambda revision, _context: script._upgrade_revs("head", revision),  # Alembic's own documented use
        destination_rev="head",
    ) as environment:
        environment.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
        environment.run_migrations()
    sort_by_bytes(connection)
