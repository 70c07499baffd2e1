"""Whose calls may be seen: what everything that reads the store is made with. Pure.

Rules: nothing that reads calls is made without a `Sight`, so there is no query without a tenant (I6), nor one that
shows more than its asker may see: a `member` sees their own calls alone. What it takes away is taken away
from every answer, whatever else was asked for; sums that cannot tell it are not used (`rollups.cube_for`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Table

_COLUMNS: Final = {"user": ("user_id",), "key": ("key_id", "caller")}
"""Of calls, and of roll-ups where it is called otherwise there."""


class Sight(msgspec.Struct, frozen=True):
    """A tenant's calls; those made for one user, or with one gateway key, alone where these are given."""

    tenant: str
    user: str | None = None
    key: str | None = None

    @property
    def narrowed(self) -> bool:
        """Whether not all of the tenant's calls are seen."""
        return self.user is not None or self.key is not None

    def own(self, table: Table) -> list[ColumnElement[bool]]:
        """What narrows calls, or sums of them, within the tenant; nothing where all are seen."""
        c: Any = table.c
        found: list[ColumnElement[bool]] = []
        for name, value in (("user", self.user), ("key", self.key)):
            if value is not None:
                [column] = [each for each in _COLUMNS[name] if each in c]
                found.append(c[column] == value)
        return found

    def told_by(self) -> set[str]:
        """The columns that sums must tell apart to be narrowed."""
        return {_COLUMNS[name][-1] for name in ("user", "key") if getattr(self, name) is not None}
