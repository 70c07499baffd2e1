"""The first owner: by `gatehouse init`, and from the environment of `serve`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gatehouse.auth import passwords
from gatehouse.cli import init
from gatehouse.cli.options import set_up
from gatehouse.config.environment import OWNER, overlay
from gatehouse.config.paths import DataDir, write_private
from gatehouse.config.yamltree import Mapping as Tree
from gatehouse.control.founding import LOST, Owner
from gatehouse.errors import ConfigError
from gatehouse.store import engine
from gatehouse.store.directory import access
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.directory.views import LogIn
from tests.cli.conftest import Cli, Result

EMAIL = "Owner@Example.com"
PASSWORD = "correct horse battery"
ENVIRON = dict(zip(OWNER, (EMAIL, PASSWORD), strict=True))


def _owners(data: Path) -> list[LogIn]:
    async def run() -> list[LogIn]:
        reading = access.reader(access.located(engine.locate(data, None)))
        try:
            return await OperatorStore(reading).who_logs_in(EMAIL)
        finally:
            await reading.dispose()

    return asyncio.run(run())


def _init(data: Path, *arguments: str, password: str = PASSWORD, **environ: str) -> Result:
    """In a process of its own, whose stdin is a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "gatehouse", "init", "--data", str(data), "--password-stdin", *arguments],
        input=f"{password}\n",
        env={"HOME": str(data.parent), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_it_makes_the_owner_and_turns_accounts_on(data: Path) -> None:
    done = _init(data, "--email", EMAIL)
    assert done.code == 0, done.err
    assert "gatehouse serve" in done.out and "gatehouse key create" in done.out
    [owner] = _owners(data)
    assert (owner.tenant, owner.role) == ("default", "owner")
    assert passwords.verify(owner.password_hash, PASSWORD)
    assert DataDir(data).accounts.stat().st_mode & 0o777 == 0o600
    assert set_up({"HOME": str(data.parent)}, str(data), None).settings.auth.enabled
    assert not any(PASSWORD.encode() in path.read_bytes() for path in data.rglob("*") if path.is_file())


def test_it_never_changes_an_owner(cli: Cli, data: Path) -> None:
    setup = set_up({"HOME": str(data.parent)}, str(data), None)
    DataDir(data).create()
    assert init.founded(setup, Owner(EMAIL, passwords.hash(PASSWORD)))
    before = _owners(data)
    done = cli("init", "--email", EMAIL, "--password-stdin")
    assert (done.code, "there is an owner already" in done.err) == (1, True)
    DataDir(data).accounts.unlink()  # on PostgreSQL another machine's init leaves no file here
    again = _init(data, "--email", EMAIL, password="another good password")
    assert (again.code, "there is an owner already" in again.err) == (1, True)
    assert _owners(data) == before and DataDir(data).accounts.exists()


def test_it_says_that_the_directory_was_lost(cli: Cli, data: Path) -> None:
    """I7."""
    DataDir(data).create()
    write_private(DataDir(data).accounts, b"")
    done = cli("init", "--email", EMAIL, "--password-stdin")
    assert done.code == 1 and LOST in done.err
    assert _owners(data) == []


def test_it_says_that_the_configuration_keeps_accounts_off(data: Path) -> None:
    done = _init(data, "--email", EMAIL, GATEHOUSE_AUTH__ENABLED="false")
    assert done.code == 0
    assert "GATEHOUSE_AUTH__ENABLED says false" in done.out


def test_a_password_that_cannot_be_used(data: Path) -> None:
    done = _init(data, "--email", EMAIL, password="short")
    assert (done.code, "The password cannot be used" in done.err) == (2, True)
    assert not DataDir(data).accounts.exists()


def test_what_is_no_address_and_nobody_to_ask(cli: Cli) -> None:
    wrong = cli("init", "--email", "nobody", "--password-stdin")
    assert (wrong.code, "is no e-mail address" in wrong.err) == (2, True)
    alone = cli("init", "--email", EMAIL)
    assert (alone.code, "--password-stdin" in alone.err) == (2, True)


def test_serve_makes_the_owner_of_its_environment_once(data: Path) -> None:
    """Create, never reset."""
    setup = set_up({"HOME": str(data.parent)}, str(data), None)
    init.from_environment(setup, ENVIRON)
    before = _owners(data)
    assert len(before) == 1
    for _ in range(2):
        init.from_environment(setup, ENVIRON | {OWNER[1]: "another good password"})
        DataDir(data).accounts.unlink(missing_ok=True)
    assert _owners(data) == before


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({OWNER[0]: EMAIL}, "go together"),
        (ENVIRON | {OWNER[1]: "short"}, "GATEHOUSE_OWNER_PASSWORD: a password has at least"),
        (ENVIRON | {OWNER[0]: "nobody"}, "GATEHOUSE_OWNER_EMAIL: no e-mail address"),
    ],
)
def test_an_environment_that_is_wrong(data: Path, environ: dict[str, Any], says: str) -> None:
    setup = set_up({"HOME": str(data.parent)}, str(data), None)
    with pytest.raises(ConfigError, match=says) as refused:
        init.from_environment(setup, environ)
    assert "short" not in str(refused.value)
    assert not data.exists()


def test_these_names_are_no_settings() -> None:
    assert overlay(Tree({}, ""), ENVIRON) == []
