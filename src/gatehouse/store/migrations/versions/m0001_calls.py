"""Calls, spans, captured bodies, counted refusals and lanes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "traces",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("trace_sent", sa.Boolean()),
        sa.Column("parent_span", sa.Text()),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text()),
        sa.Column("path", sa.Text()),
        sa.Column("path_sent", sa.Text()),
        sa.Column("surface", sa.Text()),
        sa.Column("route", sa.Text()),
        sa.Column("dialect", sa.Text()),
        sa.Column("operation", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("candidates", sa.Text()),
        sa.Column("stream", sa.Boolean()),
        sa.Column("key_id", sa.Text()),
        sa.Column("user_id", sa.Text()),
        sa.Column("provider_key_hash", sa.Text()),
        sa.Column("user_agent", sa.Text()),
        sa.Column("max_output", sa.BigInteger()),
        sa.Column("temperature", sa.Double()),
        sa.Column("top_p", sa.Double()),
        sa.Column("choices", sa.BigInteger()),
        sa.Column("forwarded_sha256", sa.Text()),
        sa.Column("streamed", sa.Boolean()),
        sa.Column("rewritten", sa.Text()),
        sa.Column("unread", sa.Text()),
        sa.Column("snapshot", sa.BigInteger()),
        sa.Column("decision_lane", sa.Text()),
        sa.Column("decision_seq", sa.BigInteger()),
        sa.Column("decided", sa.BigInteger()),
        sa.Column("provider", sa.Text()),
        sa.Column("origin", sa.Text()),
        sa.Column("credential", sa.Text()),
        sa.Column("model_sent", sa.Text()),
        sa.Column("price_version", sa.Text()),
        sa.Column("request_bytes", sa.BigInteger()),
        sa.Column("request_sha256", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger()),
        sa.Column("upstream_status", sa.BigInteger()),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("attempts", sa.BigInteger()),
        sa.Column("replayed", sa.Boolean()),
        sa.Column("model_answered", sa.Text()),
        sa.Column("response_id", sa.Text()),
        sa.Column("upstream_request_id", sa.Text()),
        sa.Column("finish_reasons", sa.Text()),
        sa.Column("tokens_input", sa.BigInteger()),
        sa.Column("tokens_cache_read", sa.BigInteger()),
        sa.Column("tokens_cache_write", sa.BigInteger()),
        sa.Column("tokens_cache_write_1h", sa.BigInteger()),
        sa.Column("tokens_output", sa.BigInteger()),
        sa.Column("tokens_reasoning", sa.BigInteger()),
        sa.Column("tokens_audio_input", sa.BigInteger()),
        sa.Column("tokens_audio_output", sa.BigInteger()),
        sa.Column("usage_source", sa.Text()),
        sa.Column("usage_check", sa.Text()),
        sa.Column("usage_note", sa.Text()),
        sa.Column("cost", sa.BigInteger()),
        sa.Column("price", sa.Text()),
        sa.Column("price_id", sa.Text()),
        sa.Column("response_bytes", sa.BigInteger()),
        sa.Column("response_sha256", sa.Text()),
        sa.Column("upstream_bytes", sa.BigInteger()),
        sa.Column("connect_us", sa.BigInteger()),
        sa.Column("first_byte_us", sa.BigInteger()),
        sa.Column("first_token_us", sa.BigInteger()),
        sa.Column("duration_us", sa.BigInteger()),
        sa.Column("answer_rewritten", sa.Text()),
        sa.Column("outcome_lane", sa.Text()),
        sa.Column("outcome_seq", sa.BigInteger()),
        sa.Column("concluded", sa.BigInteger()),
    )
    op.create_table(
        "spans",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("trace_id", sa.Text(), nullable=False),
        sa.Column("span_id", sa.Text(), nullable=False),
        sa.Column("parent_span_id", sa.Text()),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "call", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "bodies",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("last", sa.Boolean(), nullable=False),
        sa.Column("content_type", sa.Text()),
        sa.Column("content_encoding", sa.Text()),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "call", "side", "part"),
    )
    op.create_table(
        "refusals",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("code", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "lane", "seq"),
    )
    op.create_table(
        "lanes",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lane"),
    )
    op.create_index("traces_call", "traces", ["tenant", "call"], unique=True)
    sent, undecided = sa.column("trace_sent") == sa.true(), sa.column("decision_lane").is_(None)
    op.create_index("traces_sent", "traces", ["tenant", "trace_id", "call"], sqlite_where=sent, postgresql_where=sent)
    op.create_index(
        "traces_undecided", "traces", ["tenant", "call"], sqlite_where=undecided, postgresql_where=undecided
    )


def downgrade() -> None:
    for name in ("lanes", "refusals", "bodies", "spans", "traces"):
        op.drop_table(name)
