"""Projects of one tenant, and the credentials bound to them.

Rules: a name is taken once, in any case, until its project is deleted; a UUID for good. A project goes when no key of
it is left that is not revoked; its bindings and limits go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import Event, NewBinding, NewProject, ProjectChange, ProjectFilter
from gatehouse.store.directory.errors import InUse, NotThere
from gatehouse.store.directory.limits import drop_limits
from gatehouse.store.directory.schema import bindings, credentials, issuers, keys, projects
from gatehouse.store.directory.scoped import Scoped, changed, folded, viewed
from gatehouse.store.directory.views import Binding, Page, Project


class Projects(Scoped):
    """Projects and bindings."""

    async def create_project(self, new: NewProject, event: Event) -> Project:
        """Raises `Taken`."""
        ids.require("project", new.id)
        async with self._changing(event) as connection:
            await self._name_is_free(connection, projects, new.name, "project")
            more = {"name_key": folded(new.name), "created_at": event.at, "disabled": False}
            await self._put(connection, projects, new, **more)
            return await self._project(connection, new.id)

    async def project(self, name: str) -> Project:
        """Raises `NotThere`."""
        async with self._opened() as connection:
            return await self._project(connection, name)

    async def projects(self, wanted: ProjectFilter, limit: int, cursor: str | None = None) -> Page[Project]:
        """Newest first. Raises `CursorError`."""
        conditions: list[ColumnElement[bool]] = [projects.c.deleted_at.is_(None)]
        if wanted.name is not None:
            conditions.append(projects.c.name_key == folded(wanted.name))
        if wanted.uuid is not None:
            conditions.append(projects.c.uuid == wanted.uuid.lower())
        rows, further = await self._page(projects, conditions, limit, cursor)
        async with self._opened() as connection:
            bound = await self._bindings(connection, [row.id for row in rows])
        return Page([viewed(Project, row, bindings=bound[row.id]) for row in rows], further)

    async def update_project(self, name: str, change: ProjectChange, event: Event) -> Project:
        """Raises `NotThere`, `Taken`."""
        async with self._changing(event) as connection:
            before = await self._row(connection, projects, name, "project")
            renamed = await self._renamed(connection, projects, before, change.name, "project")
            await self._change(connection, projects, name, **changed(change), **renamed)
            return await self._project(connection, name)

    async def delete_project(self, name: str, event: Event) -> None:
        """Raises `NotThere`, `InUse`."""
        async with self._changing(event) as connection:
            await self._row(connection, projects, name, "project")
            for table, condition, what in (
                (keys, and_(keys.c.project == name, keys.c.revoked_at.is_(None)), "it has keys; revoke them first"),
                (issuers, issuers.c.project == name, "an issuer's callers come into it; change that first"),
                (
                    credentials,
                    and_(credentials.c.exclusive == name, credentials.c.deleted_at.is_(None)),
                    "a credential is exclusive to it; change that first",
                ),
            ):
                if not await self._free(connection, table, condition):
                    raise InUse(f"project {name} cannot be deleted: {what}")
            where = (bindings.c.tenant == self._tenant, bindings.c.project == name)
            await connection.execute(delete(bindings).where(*where))
            await drop_limits(connection, self._tenant, "project", name, event.at)
            await self._change(connection, projects, name, name_key=None, deleted_at=event.at)

    async def bind(self, project: str, new: NewBinding, event: Event) -> Project:
        """The project may use the provider with this credential; again: with another weight. Raises `NotThere`, also
        where the credential is another provider's."""
        async with self._changing(event) as connection:
            await self._row(connection, projects, project, "project")
            credential = await self._row(connection, credentials, new.credential, "credential")
            if credential.provider != new.provider:
                raise NotThere(f"credential {new.credential} is for {credential.provider}, not for {new.provider}")
            await connection.execute(delete(bindings).where(*self._bound(project, new.provider, new.credential)))
            await self._put(connection, bindings, new, project=project)
            return await self._project(connection, project)

    async def unbind(self, project: str, provider: str, credential: str, event: Event) -> Project:
        """Raises `NotThere`."""
        async with self._changing(event) as connection:
            await self._row(connection, projects, project, "project")
            gone = await connection.execute(delete(bindings).where(*self._bound(project, provider, credential)))
            if not gone.rowcount:
                raise NotThere(f"credential {credential} is not bound to {provider} in project {project}")
            return await self._project(connection, project)

    def _bound(self, project: str, provider: str, credential: str) -> tuple[ColumnElement[bool], ...]:
        return (
            bindings.c.tenant == self._tenant,
            bindings.c.project == project,
            bindings.c.provider == provider,
            bindings.c.credential == credential,
        )

    async def _project(self, connection: AsyncConnection, name: str) -> Project:
        row: Row[Any] = await self._row(connection, projects, name, "project")
        return viewed(Project, row, bindings=(await self._bindings(connection, [name]))[name])

    async def _bindings(self, connection: AsyncConnection, names: Iterable[str]) -> dict[str, list[Binding]]:
        """By project."""
        found: dict[str, list[Binding]] = {name: [] for name in names}
        weight = func.coalesce(bindings.c.weight, credentials.c.weight)
        same = and_(credentials.c.tenant == bindings.c.tenant, credentials.c.id == bindings.c.credential)
        statement = (
            select(bindings.c.project, bindings.c.provider, bindings.c.credential, weight)
            .join(credentials, same)
            .where(bindings.c.tenant == self._tenant, bindings.c.project.in_(list(found)))
            .order_by(bindings.c.provider, bindings.c.credential)
        )
        for project, *binding in await connection.execute(statement):
            found[project].append(Binding(*binding))
        return found
