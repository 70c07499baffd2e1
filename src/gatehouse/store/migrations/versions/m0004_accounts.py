"""What accounts bring: who called, changes of the administrative state, and what limits count."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXTS = ("team", "environment", "service", "groups", "actor", "skipped")
_TOLD = ("team", "environment", "service")
_ROLLUPS = ("rollups", "rollup_durations")


def upgrade() -> None:
    for name in _TEXTS:
        op.add_column("traces", sa.Column(name, sa.Text()))
    # Calls from before have none of these: their sums are right as they are.
    for table in _ROLLUPS:
        for name in _TOLD:
            op.add_column(table, sa.Column(name, sa.Text()))
    op.create_table(
        "audit",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target_kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("tenant", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("counter", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("tenant", "counter", "period"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("ledger")
    op.drop_table("audit")
    for table in _ROLLUPS:
        for name in _TOLD:
            op.drop_column(table, name)
    for name in _TEXTS:
        op.drop_column("traces", name)
