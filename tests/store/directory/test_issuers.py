"""Issuers of identity tokens: an issuer and an audience are one tenant's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.store.directory import ids
from gatehouse.store.directory.changes import IssuerChange, NewIssuer
from gatehouse.store.directory.errors import NotThere, Taken
from tests.store.directory.samples import event, opened


def _issuer(audience: str = "gatehouse", **more: str) -> NewIssuer:
    return NewIssuer(ids.new("issuer"), "https://idp.example", audience, ("RS256", "ES256"), **more)  # type: ignore[arg-type]


def test_issuer_and_audience_are_one_tenants(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            found = await made.default.create_issuer(_issuer(project=ids.DEFAULT), event())
            assert (found.algorithms, found.user_claim, found.keys_at) == (["RS256", "ES256"], "sub", None)
            with pytest.raises(Taken, match="there already"):
                await made.default.create_issuer(_issuer(), event())
            with pytest.raises(Taken):
                await made.other.create_issuer(_issuer(), event())
            second = await made.other.create_issuer(_issuer("other"), event())
            assert (await made.default.issuers(10)).items == [found]
            for wrong in (
                made.default.issuer(second.id),
                made.other.create_issuer(_issuer("x", project="prj_x"), event()),
            ):
                with pytest.raises(NotThere):
                    await wrong
            change = IssuerChange(algorithms=("ES256",), scopes=("chat",), disabled=True, jwks_url="https://idp/keys")
            changed = await made.default.update_issuer(found.id, change, event())
            assert (changed.algorithms, changed.scopes, changed.disabled) == (["ES256"], ["chat"], True)
            await made.default.delete_issuer(found.id, event())
            await made.other.create_issuer(_issuer(), event())

    asyncio.run(run())


def test_workers_hear_of_keys_that_are_new(place: Path) -> None:
    async def run() -> None:
        async with opened(place) as made:
            name = (await made.default.create_issuer(_issuer(), event())).id
            revision = await made.operator.revision()
            for keys, raised in ((b"{1}", 1), (b"{1}", 1), (b"{2}", 2)):
                await made.default.put_jwks(name, keys)
                assert await made.operator.revision() == revision + raised
            assert (await made.default.issuer(name)).keys_at is not None
            assert (await made.operator.sections()).issuers[name].jwks == b"{2}"
            [listed] = await made.operator.key_sets()
            assert (listed.tenant, listed.id, listed.issuer) == (ids.DEFAULT, name, "https://idp.example")

    asyncio.run(run())
