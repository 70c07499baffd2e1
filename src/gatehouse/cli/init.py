"""`gatehouse init`: the first owner, while no `serve` runs. And the same from the environment, as `serve` starts.

Rules: an owner is made, never changed. A password comes by prompt, from stdin or from the environment, never from the
command line.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import click

from gatehouse.auth import passwords
from gatehouse.cli.confidential import content
from gatehouse.cli.options import Setup, config_option, data_option, set_up
from gatehouse.cli.unattended import occupied
from gatehouse.config import founding as offers
from gatehouse.config.environment import OWNER
from gatehouse.config.printable import clean
from gatehouse.control import founding
from gatehouse.control.entrance import email_address
from gatehouse.control.founding import Founded, Owner
from gatehouse.errors import ConfigError
from gatehouse.store import engine
from gatehouse.store.directory import access
from gatehouse.store.directory.errors import Taken
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.engine import StoreError

_OWNED: Final = "there is an owner already; `gatehouse user create` makes further people"


@click.command(name="init")
@click.option("--email", help="The owner's e-mail address; else you are asked.")
@click.option("--name", help="The owner's name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin's first line; else you are asked.")
@data_option
@config_option
@click.pass_obj
def command(
    environ: Mapping[str, str],
    email: str | None,
    name: str | None,
    password_stdin: bool,
    data: str | None,
    config: Path | None,
) -> int:
    """Make the first owner, the tenant and project `default`, and turn on accounts and keys (auth.enabled)."""
    setup = set_up(environ, data, config)
    with occupied(setup.data) as holder:
        if holder is not None:
            raise click.ClickException(
                f"a gateway runs on {clean(str(setup.data.root))} (pid {holder.pid}); stop it first, or use the link "
                "for setting up that it printed"
            )
        if setup.data.accounts.exists():
            raise click.ClickException(_why_not(setup))
        address = _email(email or click.prompt("E-mail address", err=True))
        made = founded(setup, Owner(address, passwords.hash(new_password(password_stdin)), name))
    if made is None:
        raise click.ClickException(_OWNED)
    click.echo(_next(setup, address))
    return 0


def founded(setup: Setup, owner: Owner) -> Founded | None:
    """Make the owner; `None`: there is one. The data directory is ours. Raises `ConfigError`."""
    try:
        made = asyncio.run(_founded(setup, owner))
        offers.mark(setup.data)
    except (StoreError, OSError) as error:
        raise ConfigError(f"the directory of accounts cannot be written: {error}") from error
    return made


def from_environment(setup: Setup, environ: Mapping[str, str]) -> None:
    """The owner whom the environment names, unless there is one. Raises `ConfigError`."""
    email, password = (environ.get(name, "") for name in OWNER)
    if not (email and password):
        raise ConfigError(f"{OWNER[0]} and {OWNER[1]} go together")
    fault = passwords.fault(password)
    if fault is not None:
        raise ConfigError(f"{OWNER[1]}: {fault}")
    try:
        address = email_address(email)
    except ValueError as error:
        raise ConfigError(f"{OWNER[0]}: {error}") from error
    with occupied(setup.data) as holder:
        # A gateway that runs is told so by the supervisor, in words of its own.
        if holder is None and not setup.data.accounts.exists():
            founded(setup, Owner(address, passwords.hash(password)))


def new_password(from_stdin: bool) -> str:
    """A password that can be somebody's. Raises `click.UsageError`."""
    if from_stdin:
        password = content("-", "the password").partition("\n")[0].rstrip("\r")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise click.UsageError("Nobody can be asked for the password here; give it by --password-stdin.")
    fault = passwords.fault(password)
    if fault is not None:
        raise click.UsageError(f"The password cannot be used: {fault}.")
    return password


def _email(text: str) -> str:
    try:
        return email_address(text.strip())
    except ValueError as error:
        raise click.UsageError(f"--email: {clean(text)} is {error}.") from error


def _why_not(setup: Setup) -> str:
    """Why nobody becomes owner where the data directory says that there is one. Raises `ConfigError`."""
    try:
        found = asyncio.run(_standing(setup))
    except StoreError as error:
        raise ConfigError(f"the directory of accounts cannot be read: {error}") from error
    return founding.LOST if found == "lost" else _OWNED


async def _standing(setup: Setup) -> founding.Standing:
    async with _operator(setup) as operator:
        return await founding.standing(operator, setup.data)


async def _founded(setup: Setup, owner: Owner) -> Founded | None:
    async with _operator(setup) as operator:
        with suppress(Taken):
            return await founding.set_up(operator, owner)
    return None


@asynccontextmanager
async def _operator(setup: Setup) -> AsyncIterator[OperatorStore]:
    """The directory, made if there is none. Raises `StoreError`, `ConfigError`."""
    url = access.located(engine.locate(setup.data.root, setup.settings.database.url))
    await access.prepare(url)
    writing = access.writer(url)
    try:
        yield OperatorStore(writing)
    finally:
        await writing.dispose()


def _next(setup: Setup, address: str) -> str:
    lines = [
        f"{clean(address)} owns the tenant `default`, which has a project `default`.",
        "Next:",
        "  gatehouse serve",
        "  gatehouse credential create openai --provider openai     # asks for the secret",
        "  gatehouse project enable openai --credential openai",
        "  gatehouse key create my-key                              # shown once, with lines for SDKs",
    ]
    if not setup.settings.auth.enabled and "auth.enabled" in setup.effective.origins:
        where = setup.effective.origins["auth.enabled"]
        lines.insert(1, f"Accounts stay off until auth.enabled is true: {clean(where)} says false.")
    return "\n".join(lines)
