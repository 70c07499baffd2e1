"""How signing in is put together: secrets from where the settings say, each with its own error."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Auth, Server, Settings, Sso
from gatehouse.control.doors import client_secret, opened
from gatehouse.errors import ConfigError
from tests.control.doors import house

KNOWN = Sso(issuer="https://sso.example", client_id="gatehouse")
SECRET = "the client's secret"


def test_the_clients_secret(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    file.chmod(0o600)
    assert client_secret(KNOWN, {}) is None
    assert client_secret(Sso(client_secret_file=str(file)), {}) == SECRET
    assert client_secret(Sso(client_secret_env="SSO_SECRET"), {"SSO_SECRET": f" {SECRET} "}) == SECRET


@pytest.mark.parametrize("mode", [None, 0o644, 0])
def test_a_secret_that_is_not_there_or_not_safe(tmp_path: Path, mode: int | None) -> None:
    file = tmp_path / "secret"
    if mode is not None:
        file.write_text(SECRET if mode else "")
        file.chmod(mode or 0o600)
    with pytest.raises(ConfigError) as refused:
        client_secret(Sso(client_secret_file=str(file)), {})
    assert SECRET not in str(refused.value)
    with pytest.raises(ConfigError, match="SSO_SECRET is not set"):
        client_secret(Sso(client_secret_env="SSO_SECRET"), {})


def test_all_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with house(tmp_path, founded=False) as made:
            data, administration = DataDir(tmp_path / "data"), made.accounts.administration
            settings = Settings(auth=Auth(enabled=True), server=Server(public_url="https://a.example"), sso=KNOWN)
            doors = opened(administration, data, settings, {}, local_token=b"x" * 32)
            assert doors.sso is not None and doors.accounts.enabled and doors.accounts.sso
            assert data.platform_jwt.stat().st_mode & 0o777 == 0o600
            again = opened(administration, data, Settings(), {}, local_token=b"x" * 32)
            assert again.sso is None and not again.accounts.enabled

    asyncio.run(run())
