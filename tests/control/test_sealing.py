"""Master keys at the start, and their rotation while the control plane lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gatehouse.auth.secrets import ApiKey
from gatehouse.auth.vault import Binding, VaultError
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Secrets
from gatehouse.control.sealing import MasterKeys
from gatehouse.errors import ConfigError
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import NewTenant
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.operator import OperatorStore
from tests.control.administered import SECRET, administered
from tests.control.doors import event
from tests.store import databases
from tests.store.directory.samples import credential


def test_a_key_is_made_only_while_nothing_is_sealed(place: Path) -> None:
    data = DataDir(place / "data")
    data.create()
    url = access.located(databases.url(place))
    master_keys = MasterKeys(Secrets(), data, {})
    vault = master_keys.vault(url)
    new = credential()
    binding = Binding(ids.DEFAULT, new.id, new.provider, new.origin)

    async def store() -> None:
        writing = access.writer(url)
        await OperatorStore(writing).create_tenant(NewTenant(ids.DEFAULT, "default"), event("tenant.create", "x"))
        sealed = vault.seal(binding, ApiKey(SECRET))
        directory = Directory(writing, ids.DEFAULT)
        await directory.create_credential(credential(id=new.id, sealed=sealed), event("credential.create", new.id))
        await writing.dispose()

    asyncio.run(store())
    master_keys.vault(url)
    data.master_keys.rename(data.master_keys.with_suffix(".away"))
    with pytest.raises(ConfigError, match="is missing"):
        master_keys.vault(url)
    assert not data.master_keys.exists()
    (data.root / "other").mkdir()
    other = MasterKeys(Secrets(), DataDir(data.root / "other"), {})
    other_data = DataDir(data.root / "other")
    other_data.create()
    other.read(create=True)
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        other.vault(url)
    assert SECRET not in str(caught.value)


def test_rotation_seals_everything_anew(tmp_path: Path) -> None:
    async def test() -> None:
        async with administered(tmp_path) as api:
            administration = api.house.accounts.administration
            data = api.house.data
            master_keys = MasterKeys(Secrets(), data, {})
            before = master_keys.read(create=True)
            administration.means.vault.renew(before)
            made: Any = await api.credential(rotate_hook="https://rotate.example/x")
            await api.ask("PUT", "/events/webhook", {"url": "https://hook.example/"})
            old = await administration.tenant(ids.DEFAULT).sealed(made["id"])
            assert await api.ask("POST", "/secrets/rotate") == {"sealed": 3, "keys": 1}
            after = master_keys.read(create=False)
            assert len(after) == 1 and after != before
            binding = Binding(ids.DEFAULT, made["id"], "openai", made["origin"])
            new = await administration.tenant(ids.DEFAULT).sealed(made["id"])
            assert administration.means.vault.open(binding, new, (ApiKey,)) == ApiKey(SECRET)
            with pytest.raises(VaultError):
                administration.means.vault.open(binding, old, (ApiKey,))
            assert api.house.said("secrets.rotate")[0].details["sealed"]
            owner = await api.house.bearer(api.house.made["owner"])
            await api.ask("POST", "/secrets/rotate", None, 403, headers=owner)

    asyncio.run(test())
