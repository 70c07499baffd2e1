"""Signing in while somebody else takes the way in away: what was replaced lets nobody in, however well it was timed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import argon2
import pytest

from gatehouse import errors
from gatehouse.control.accounts import Hashing
from gatehouse.control.caller import Caller
from gatehouse.control.issued import issue
from gatehouse.errors import GatehouseError
from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import SessionFilter, UserChange
from tests.control.doors import PASSWORD, Browser, House, event, house

NEW = "another good password"
NEWER = "a third good password"
T = TypeVar("T")


class Held(Hashing):
    """Takes its time: what it was asked is known, and told later."""

    def __init__(self) -> None:
        super().__init__()
        self.known = asyncio.Event()
        self.told = asyncio.Event()
        self.told.set()

    async def verify(self, hashed: str | None, password: str) -> bool:
        return await self._later(super().verify(hashed, password))

    async def hash(self, field: str, password: str) -> str:
        return await self._later(super().hash(field, password))

    async def _later(self, work: Coroutine[Any, Any, T]) -> T:
        found = await work
        self.known.set()
        await self.told.wait()
        return found


async def _meanwhile(made: House, slow: Held, asked: Coroutine[Any, Any, Any]) -> tuple[int, str]:
    """The owner is invited anew while a request is under way. Its status, and the invitation."""
    slow.known.clear()
    slow.told.clear()
    task = asyncio.create_task(asked)
    await slow.known.wait()
    invited = await made.operate("POST", f"/api/v1/users/{made.made['owner']}/invitation")
    slow.told.set()
    return (await task).status_code, invited.json()["invitation"]


@pytest.mark.parametrize("how", ["log in", "change the password", "made with other parameters"])
def test_a_password_that_is_replaced_meanwhile_lets_nobody_in(place: Path, how: str) -> None:
    """Whoever has it and tries without end is out, too, and does not put it back."""

    async def run() -> None:
        slow = Held()
        async with house(place, hashing=slow) as made:
            thief, directory = Browser(made), made.accounts.administration.tenant(ids.DEFAULT)
            changing = how == "change the password"
            if changing:
                await thief.log_in()
            if how == "made with other parameters":
                weak = UserChange(password_hash=argon2.PasswordHasher(time_cost=1, memory_cost=64).hash(PASSWORD))
                await directory.update_user(made.made["owner"], weak, event("user.password", made.made["owner"]))
            body = {"current": PASSWORD, "new": NEW}
            asked = thief.ask("PUT", "/api/v1/me/password", json=body) if changing else thief.log_in()
            status, invitation = await _meanwhile(made, slow, asked)
            assert status == 401
            assert (await directory.sessions(SessionFilter(), 10)).items == []
            for password in (PASSWORD, NEW):
                assert (await Browser(made).log_in(password=password)).status_code == 401
            owner = Browser(made)
            told = {"invitation": invitation, "password": NEWER}
            assert (await owner.ask("POST", "/api/v1/invitation", json=told)).status_code == 201

    asyncio.run(run())


def test_an_invitation_counts_once_also_for_two_at_once(place: Path) -> None:
    async def run() -> None:
        async with house(place) as made:
            invited = await made.operate("POST", f"/api/v1/users/{made.made['owner']}/invitation")
            told = [{"invitation": invited.json()["invitation"], "password": each} for each in (NEW, NEWER)]
            answers = await asyncio.gather(
                *(Browser(made).ask("POST", "/api/v1/invitation", json=each) for each in told)
            )
            assert sorted(each.status_code for each in answers) == [201, 401]

    asyncio.run(run())


def test_whose_sessions_are_ended_meanwhile_gets_no_platform_token(place: Path) -> None:
    """The gate let the request pass, then the sessions ended."""

    async def run() -> None:
        async with house(place) as made:
            thief, owner = Browser(made), made.made["owner"]
            await thief.log_in()
            directory = made.accounts.administration.tenant(ids.DEFAULT)
            [session] = (await directory.sessions(SessionFilter(), 10)).items
            caller = Caller("user", user=owner, id=owner, role="owner", session=session.id)
            await issue(made.accounts, caller, owner, ("projects:read",), 60)
            await made.operate("DELETE", f"/api/v1/users/{owner}/sessions")
            with pytest.raises(GatehouseError, match="the session is over") as refused:
                await issue(made.accounts, caller, owner, ("projects:read",), 60)
            assert refused.value.kind is errors.UNAUTHORIZED
            assert len((await directory.tokens(10)).items) == len(made.said("token.create")) == 1

    asyncio.run(run())


def test_an_invitation_of_a_disabled_tenant_does_not_count(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path) as made:
            body = {"name": "other", "owner_email": "o@example.com"}
            other = (await made.operate("POST", "/api/v1/tenants", json=body)).json()
            told = {"invitation": other["invitation"], "password": NEW}
            tenant = f"/api/v1/tenants/{other['tenant']['id']}"
            await made.operate("PATCH", tenant, json={"disabled": True})
            assert (await Browser(made).ask("POST", "/api/v1/invitation", json=told)).status_code == 401
            await made.operate("PATCH", tenant, json={"disabled": False})
            assert (await Browser(made).ask("POST", "/api/v1/invitation", json=told)).status_code == 201

    asyncio.run(run())
