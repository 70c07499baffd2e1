"""Hours and days of calls, summed up."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TOKENS = (
    *("input", "cache_read", "cache_write", "cache_write_1h", "output", "reasoning", "audio_input", "audio_output"),
    *("image_input", "image_output", "image_cache_read", "audio_cache_read"),
)
_SUMS = (
    *("calls", "errors", "metered", "estimated", "estimated_tokens", "cost", "priced", "free", "unknown_price"),
    *("ended", "waited", "latest"),
    *(f"tokens_{name}" for name in _TOKENS),
)


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]


def _place() -> list[sa.Column[str] | sa.Column[int]]:
    names = [sa.Column(name, sa.Text(), nullable=False) for name in ("tenant", "cube", "grain")]
    return [*names, *_numbers("start", "position")]


def _group() -> list[sa.Column[str]]:
    names = ("project", "provider", "model", "model_answered", "route", "caller", "kind", "user_id", "size")
    return [sa.Column(name, sa.Text()) for name in names]


def _key() -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("tenant", "cube", "grain", "start", "position")


def upgrade() -> None:
    op.create_table(
        "rollups",
        *_place(),
        *_group(),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("status_class", sa.BigInteger()),
        *_numbers(*_SUMS),
        _key(),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_durations",
        *_place(),
        *_group(),
        *_numbers("ended", "waited"),
        sa.Column("durations", sa.LargeBinary(), nullable=False),
        *_numbers("began", "began_waited"),
        sa.Column("first_tokens", sa.LargeBinary(), nullable=False),
        _key(),
    )
    op.create_table(
        "rolled",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("tenant", "cube", "grain")),
        *_numbers("start", "calls"),
        sa.PrimaryKeyConstraint("tenant", "cube", "grain", "start"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for name in ("rolled", "rollup_durations", "rollups"):
        op.drop_table(name)
