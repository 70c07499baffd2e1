"""The directory's tables. Every field is explained in `docs/store.md`.

Rules: tenant stands first in every primary key; what is looked up before the tenant is known (a digest, an e-mail, an
issuer) has a unique index of its own. Nothing refers by foreign key: what must be there is looked for in the same
transaction, and the error says what is missing. Rows that ids in the journal may name are marked as deleted and stay;
an id never comes again. Plain SQL types only; a change here needs a migration, and `REVISION` names the newest one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from gatehouse.store.version import Lineage

REVISION: Final = "0001"
"""The migration this release's tables are at."""

metadata: Final = MetaData()

LINEAGE: Final = Lineage(
    name="directory",
    revision=REVISION,
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    table="directory_version",
    otherwise="restore a backup of the directory that this one made",
)


class JsonText(TypeDecorator[Any]):
    """A list or an object as JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else msgspec.json.decode(value)


def _must(kind: type[TypeEngine[Any]], *names: str) -> list[Column[Any]]:
    return [Column(name, kind(), nullable=False, autoincrement=False) for name in names]


def _may(kind: type[TypeEngine[Any]], *names: str) -> list[Column[Any]]:
    return [Column(name, kind(), nullable=True, autoincrement=False) for name in names]


tenants: Final = Table(
    "dir_tenants",
    metadata,
    *_must(Text, "tenant", "name", "name_key"),
    *_must(BigInteger, "created_at"),
    *_must(Boolean, "disabled"),
    *_must(BigInteger, "revision"),
    PrimaryKeyConstraint("tenant"),
    Index("dir_tenants_name", "name_key", unique=True),
)
"""`revision` counts the tenant's changes. Each change raises it first, and so waits for the one before it."""

users: Final = Table(
    "dir_users",
    metadata,
    *_must(Text, "tenant", "id"),
    *_may(Text, "email", "email_key", "name", "password_hash"),
    *_must(Text, "role"),
    *_may(Text, "issuer", "subject"),
    *_must(BigInteger, "created_at"),
    *_must(Boolean, "disabled"),
    *_may(BigInteger, "erased_at"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_users_email", "email_key", "tenant", unique=True),
    Index("dir_users_subject", "tenant", "issuer", "subject", unique=True),
)

projects: Final = Table(
    "dir_projects",
    metadata,
    *_must(Text, "tenant", "id", "uuid", "name"),
    *_may(Text, "name_key"),
    *_must(Text, "type", "environment", "team"),
    *_may(Boolean, "own_keys"),
    *_must(BigInteger, "created_at"),
    *_must(Boolean, "disabled"),
    *_may(BigInteger, "deleted_at"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_projects_name", "tenant", "name_key", unique=True),
    Index("dir_projects_uuid", "uuid", unique=True),
)

bindings: Final = Table(
    "dir_bindings",
    metadata,
    *_must(Text, "tenant", "project", "provider", "credential"),
    *_may(BigInteger, "weight"),
    PrimaryKeyConstraint("tenant", "project", "provider", "credential"),
    Index("dir_bindings_credential", "tenant", "credential"),
)

credentials: Final = Table(
    "dir_credentials",
    metadata,
    *_must(Text, "tenant", "id", "name"),
    *_may(Text, "name_key"),
    *_must(Text, "provider", "origin", "kind"),
    *_must(LargeBinary, "sealed"),
    *_must(Text, "last4"),
    *_must(JsonText, "settings"),
    *_must(BigInteger, "weight"),
    *_must(Boolean, "test"),
    *_may(Text, "exclusive"),
    *_may(BigInteger, "rotate_every_days"),
    *_may(Text, "rotate_hook"),
    *_may(LargeBinary, "rotate_key"),
    *_must(Text, "health"),
    *_may(Text, "health_reason"),
    *_may(BigInteger, "health_at"),
    *_may(LargeBinary, "token"),
    *_may(BigInteger, "token_expires_at", "retiring_at", "reminded_at"),
    *_must(BigInteger, "rotated_at", "created_at"),
    *_must(Boolean, "disabled"),
    *_may(BigInteger, "deleted_at"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_credentials_name", "tenant", "name_key", unique=True),
)

keys: Final = Table(
    "dir_keys",
    metadata,
    *_must(Text, "tenant", "id"),
    *_must(LargeBinary, "digest"),
    *_must(Text, "last4"),
    *_may(Text, "name", "owner", "user_id"),
    *_must(Text, "project", "environment"),
    *_must(JsonText, "scopes", "models", "providers", "addresses"),
    *_may(Text, "role"),
    *_may(BigInteger, "expires_at", "disabled_at", "revoked_at"),
    *_must(BigInteger, "created_at"),
    *_may(Text, "created_by", "succeeded_by"),
    *_may(BigInteger, "retires_at"),
    *_must(Text, "counts_as"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_keys_digest", "digest", unique=True),
    Index("dir_keys_project", "tenant", "project", "id"),
    Index("dir_keys_user", "tenant", "user_id", "id"),
    Index("dir_keys_counts_as", "tenant", "counts_as"),
)

limits: Final = Table(
    "dir_limits",
    metadata,
    *_must(Text, "tenant", "id", "scope", "scope_id", "measure", "window"),
    *_must(BigInteger, "cap"),
    *_must(Boolean, "hard"),
    *_must(Text, "at_cap", "on_unknown"),
    *_may(Text, "when_down"),
    *_may(BigInteger, "assumed"),
    *_must(BigInteger, "max_reserved_share", "created_at"),
    *_may(BigInteger, "deleted_at"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_limits_scope", "tenant", "scope", "scope_id", "id"),
)

issuers: Final = Table(
    "dir_issuers",
    metadata,
    *_must(Text, "tenant", "id", "issuer", "audience"),
    *_must(JsonText, "algorithms"),
    *_may(Text, "jwks_url"),
    *_must(Text, "user_claim", "groups_claim", "service_claim"),
    *_may(Text, "project"),
    *_must(JsonText, "scopes"),
    *_may(LargeBinary, "jwks"),
    *_may(BigInteger, "keys_at"),
    *_must(Boolean, "disabled"),
    *_must(BigInteger, "created_at"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_issuers_issuer", "issuer", "audience", unique=True),
)

sessions: Final = Table(
    "dir_sessions",
    metadata,
    *_must(Text, "tenant", "id"),
    *_must(LargeBinary, "digest"),
    *_may(LargeBinary, "previous"),
    *_must(Text, "user_id", "rights"),
    *_must(BigInteger, "created_at", "rotated_at", "seen_at"),
    PrimaryKeyConstraint("tenant", "id"),
    Index("dir_sessions_digest", "digest", unique=True),
    Index("dir_sessions_previous", "previous", unique=True),
    Index("dir_sessions_user", "tenant", "user_id"),
)

tokens: Final = Table(
    "dir_tokens",
    metadata,
    *_must(Text, "tenant", "id", "user_id"),
    *_must(JsonText, "scopes"),
    *_must(BigInteger, "created_at", "expires_at"),
    *_may(BigInteger, "revoked_at"),
    PrimaryKeyConstraint("tenant", "id"),
)

webhooks: Final = Table(
    "dir_webhooks",
    metadata,
    *_must(Text, "tenant", "url"),
    *_must(LargeBinary, "sealed"),
    *_must(BigInteger, "created_at"),
    *_may(Text, "posted"),
    PrimaryKeyConstraint("tenant"),
)

outbox: Final = Table(
    "dir_outbox",
    metadata,
    *_must(Text, "tenant", "id", "event"),
    PrimaryKeyConstraint("tenant", "id"),
)
"""Events that are not in the journal yet."""
