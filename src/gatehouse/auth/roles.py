"""What a role may do on the management API: one table.

Rules
- Deny by default: what the table does not give is refused, and a role that is not in it may do nothing.
- Nobody hands on more than they have (`at_most`): neither to a user, nor to a key, nor to a token.
- A token's rights are what it was made for and its subject may still do (`granted`).
- `docs/access.md` has the same table; a test compares the two.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final


class Permission(enum.StrEnum):
    """What a management route asks for."""

    PROXY_WRITE = "proxy:write"
    """Make calls: have gateway keys that open the data plane."""
    PROJECTS_READ = "projects:read"
    """See projects, their providers and their limits."""
    KEYS_MANAGE_OWN = "keys:manage_own"
    TRACES_READ_OWN = "traces:read_own"
    """One's own calls, captured bodies included."""
    ANALYTICS_READ = "analytics:read"
    """Figures and events of the whole tenant."""
    TRACES_READ = "traces:read"
    """All calls of the tenant, without bodies."""
    BODIES_READ = "bodies:read"
    """Captured bodies of all calls: what others asked and were told."""
    EXPORT_READ = "export:read"
    """Records in bulk."""
    AUDIT_READ = "audit:read"
    """Who changed what, and who logged in."""
    ACCESS_READ = "access:read"
    """Who has access: members, keys (masked), credentials (without secrets), issuers."""
    KEYS_MANAGE = "keys:manage"
    """Keys of everybody."""
    LIMITS_MANAGE = "limits:manage"
    POLICIES_MANAGE = "policies:manage"
    PROJECTS_MANAGE = "projects:manage"
    CREDENTIALS_MANAGE = "credentials:manage"
    MEMBERS_MANAGE = "members:manage"
    """Users, their roles, sessions and tokens."""
    TENANT_MANAGE = "tenant:manage"
    """The tenant itself, who vouches for identities, and keys with the scope `provider:any`."""


NAMES: Final = frozenset([str(permission) for permission in Permission])
_READ: Final = frozenset((Permission.PROJECTS_READ, Permission.ANALYTICS_READ, Permission.TRACES_READ))
_OWN: Final = frozenset(
    (Permission.PROXY_WRITE, Permission.PROJECTS_READ, Permission.KEYS_MANAGE_OWN, Permission.TRACES_READ_OWN)
)
_ALL: Final = frozenset(Permission)

ROLES: Final[Mapping[str, frozenset[Permission]]] = MappingProxyType(
    {
        "owner": _ALL,
        "admin": _ALL - {Permission.TENANT_MANAGE},
        "developer": _OWN | _READ,
        "member": _OWN,
        "viewer": _READ,
        "auditor": _READ
        | {Permission.BODIES_READ, Permission.EXPORT_READ, Permission.AUDIT_READ, Permission.ACCESS_READ},
    }
)


def permissions(role: str | None) -> frozenset[Permission]:
    """All that a role may do; nothing, for one that is not in the table."""
    return ROLES.get(role, frozenset()) if role is not None else frozenset()


def allowed(role: str | None, permission: Permission) -> bool:
    """Whether a role has a permission."""
    return permission in permissions(role)


def at_most(creator: str | None, wanted: str | None) -> bool:
    """Whether somebody with the role `creator` may hand out the role `wanted`. `None` is no role: anybody may."""
    if wanted is None:
        return True
    return wanted in ROLES and ROLES[wanted] <= permissions(creator)


def granted(role: str | None, wanted: Iterable[str]) -> frozenset[Permission]:
    """Which of `wanted`, permissions by name, a role has; unknown names are left out."""
    return permissions(role) & frozenset([Permission(name) for name in wanted if name in NAMES])
