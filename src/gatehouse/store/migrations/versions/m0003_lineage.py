"""What calls belong together (lineage headers, agent loops, jobs); tools, turns, tokens of images and cached audio."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TEXTS = ("group_id", "thread_id", "run_id", "parent_id", "tags", "loop", "parent_call", "tools", "job")
_TOKENS = ("tokens_image_input", "tokens_image_output", "tokens_image_cache_read", "tokens_audio_cache_read")
_NUMBERS = ("sequence", "turns", *_TOKENS)
_INDEXED = {"loop": "loop", "group": "group_id", "thread": "thread_id", "run": "run_id", "job": "job"}


def upgrade() -> None:
    for name in _TEXTS:
        op.add_column("traces", sa.Column(name, sa.Text()))
    for name in _NUMBERS:
        op.add_column("traces", sa.Column(name, sa.BigInteger()))
    for name, column in _INDEXED.items():
        has = sa.column(column).is_not(None)
        op.create_index(f"traces_{name}", "traces", ["tenant", column, "call"], sqlite_where=has, postgresql_where=has)
    op.create_table(
        "link_keys",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("offered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", "key", "call", "offered"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("link_keys")
    for name in _INDEXED:
        op.drop_index(f"traces_{name}", "traces")
    for name in (*_TEXTS, *_NUMBERS):
        op.drop_column("traces", name)
