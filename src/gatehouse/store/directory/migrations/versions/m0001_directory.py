"""Tenants and all that belongs to them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = (
    *("dir_tenants", "dir_users", "dir_projects", "dir_bindings", "dir_credentials", "dir_keys", "dir_limits"),
    *("dir_issuers", "dir_sessions", "dir_tokens", "dir_webhooks", "dir_outbox"),
)


def _texts(*names: str, null: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=null) for name in names]


def _numbers(*names: str, null: bool = False) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=null, autoincrement=False) for name in names]


def _flags(*names: str, null: bool = False) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean(), nullable=null) for name in names]


def _bytes(*names: str, null: bool = False) -> list[sa.Column[bytes]]:
    return [sa.Column(name, sa.LargeBinary(), nullable=null) for name in names]


def upgrade() -> None:
    _who()
    _what_they_use()
    _how_much()
    _ways_in()
    for name, columns, unique in (
        ("dir_tenants_name", ["name_key"], True),
        ("dir_users_email", ["email_key", "tenant"], True),
        ("dir_users_subject", ["tenant", "issuer", "subject"], True),
        ("dir_projects_name", ["tenant", "name_key"], True),
        ("dir_projects_uuid", ["uuid"], True),
        ("dir_bindings_credential", ["tenant", "credential"], False),
        ("dir_credentials_name", ["tenant", "name_key"], True),
        ("dir_keys_digest", ["digest"], True),
        ("dir_keys_project", ["tenant", "project", "id"], False),
        ("dir_keys_user", ["tenant", "user_id", "id"], False),
        ("dir_keys_counts_as", ["tenant", "counts_as"], False),
        ("dir_limits_scope", ["tenant", "scope", "scope_id", "id"], False),
        ("dir_issuers_issuer", ["issuer", "audience"], True),
        ("dir_sessions_digest", ["digest"], True),
        ("dir_sessions_previous", ["previous"], True),
        ("dir_sessions_user", ["tenant", "user_id"], False),
    ):
        op.create_index(name, "_".join(name.split("_")[:2]), columns, unique=unique)


def _who() -> None:
    op.create_table(
        "dir_tenants",
        *_texts("tenant", "name", "name_key"),
        *_numbers("created_at"),
        *_flags("disabled"),
        *_numbers("revision"),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table(
        "dir_users",
        *_texts("tenant", "id"),
        *_texts("email", "email_key", "name", "password_hash", null=True),
        *_texts("role"),
        *_texts("issuer", "subject", null=True),
        *_numbers("created_at"),
        *_flags("disabled"),
        *_numbers("erased_at", null=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "dir_projects",
        *_texts("tenant", "id", "uuid", "name"),
        *_texts("name_key", null=True),
        *_texts("type", "environment", "team"),
        *_flags("own_keys", null=True),
        *_numbers("created_at"),
        *_flags("disabled"),
        *_numbers("deleted_at", null=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _what_they_use() -> None:
    op.create_table(
        "dir_bindings",
        *_texts("tenant", "project", "provider", "credential"),
        *_numbers("weight", null=True),
        sa.PrimaryKeyConstraint("tenant", "project", "provider", "credential"),
    )
    op.create_table(
        "dir_credentials",
        *_texts("tenant", "id", "name"),
        *_texts("name_key", null=True),
        *_texts("provider", "origin", "kind"),
        *_bytes("sealed"),
        *_texts("last4", "settings"),
        *_numbers("weight"),
        *_flags("test"),
        *_texts("exclusive", null=True),
        *_numbers("rotate_every_days", null=True),
        *_texts("rotate_hook", null=True),
        *_bytes("rotate_key", null=True),
        *_texts("health"),
        *_texts("health_reason", null=True),
        *_numbers("health_at", null=True),
        *_bytes("token", null=True),
        *_numbers("token_expires_at", "retiring_at", "reminded_at", null=True),
        *_numbers("rotated_at", "created_at"),
        *_flags("disabled"),
        *_numbers("deleted_at", null=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "dir_keys",
        *_texts("tenant", "id"),
        *_bytes("digest"),
        *_texts("last4"),
        *_texts("name", "owner", "user_id", null=True),
        *_texts("project", "environment", "scopes", "models", "providers", "addresses"),
        *_texts("role", null=True),
        *_numbers("expires_at", "disabled_at", "revoked_at", null=True),
        *_numbers("created_at"),
        *_texts("created_by", "succeeded_by", null=True),
        *_numbers("retires_at", null=True),
        *_texts("counts_as"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _how_much() -> None:
    op.create_table(
        "dir_limits",
        *_texts("tenant", "id", "scope", "scope_id", "measure", "window"),
        *_numbers("cap"),
        *_flags("hard"),
        *_texts("at_cap", "on_unknown"),
        *_texts("when_down", null=True),
        *_numbers("assumed", null=True),
        *_numbers("max_reserved_share", "created_at"),
        *_numbers("deleted_at", null=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )


def _ways_in() -> None:
    op.create_table(
        "dir_issuers",
        *_texts("tenant", "id", "issuer", "audience", "algorithms"),
        *_texts("jwks_url", null=True),
        *_texts("user_claim", "groups_claim", "service_claim"),
        *_texts("project", null=True),
        *_texts("scopes"),
        *_bytes("jwks", null=True),
        *_numbers("keys_at", null=True),
        *_flags("disabled"),
        *_numbers("created_at"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "dir_sessions",
        *_texts("tenant", "id"),
        *_bytes("digest"),
        *_bytes("previous", null=True),
        *_texts("user_id", "rights"),
        *_numbers("created_at", "rotated_at", "seen_at"),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "dir_tokens",
        *_texts("tenant", "id", "user_id", "scopes"),
        *_numbers("created_at", "expires_at"),
        *_numbers("revoked_at", null=True),
        sa.PrimaryKeyConstraint("tenant", "id"),
    )
    op.create_table(
        "dir_webhooks",
        *_texts("tenant", "url"),
        *_bytes("sealed"),
        *_numbers("created_at"),
        *_texts("posted", null=True),
        sa.PrimaryKeyConstraint("tenant"),
    )
    op.create_table("dir_outbox", *_texts("tenant", "id", "event"), sa.PrimaryKeyConstraint("tenant", "id"))


def downgrade() -> None:
    for name in _TABLES:
        op.drop_table(name)
