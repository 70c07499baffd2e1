"""Brings tables to this release's: the store's, or the directory's. Alembic without its command line or configuration
file.

Rules: one transaction, so that a failed migration leaves the tables as they were. Loaded only when there is something
to do (`version.upgrade`): Alembic costs 80 ms and 10 MB.
"""

from __future__ import annotations

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from gatehouse.store.engine import StoreVersionError, sort_by_bytes
from gatehouse.store.version import STORE, Lineage


def scripts(lineage: Lineage = STORE) -> ScriptDirectory:
    """The migrations of this release."""
    return ScriptDirectory(str(lineage.migrations))


def upgrade(connection: Connection, lineage: Lineage) -> None:
    """Run every migration that `connection`'s database has not seen, in its open transaction.

    Raises what the driver raises; `StoreVersionError` for a revision this release does not know.
    """
    script = scripts(lineage)
    with EnvironmentContext(
        Config(),
        script,
        fn=lambda revision, _context: script._upgrade_revs("head", revision),  # Alembic's own documented use
        destination_rev="head",
    ) as environment:
        environment.configure(
            connection=connection,
            target_metadata=lineage.metadata,
            version_table=lineage.table,
            transactional_ddl=True,
        )
        try:
            environment.run_migrations()
        except CommandError as error:
            raise StoreVersionError(
                f"the {lineage.name}'s tables are at a version that no release has ({error}); {lineage.otherwise}"
            ) from error
    sort_by_bytes(connection)
