"""Asking the store a question, whether the gateway runs or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from gatehouse import collector
from gatehouse.cli.difference import Side
from gatehouse.cli.options import Setup
from gatehouse.config.printable import clean
from gatehouse.store import reading
from gatehouse.store.engine import StoreError, StoreMissingError
from gatehouse.store.reading import Reader
from gatehouse.store.tally import TooManyError

T = TypeVar("T")


def ask(setup: Setup, tenant: str, question: Callable[[Reader], Awaitable[T]]) -> T:
    """The answer about a tenant's calls, after what the journal holds and the store does not yet has been collected.

    Raises `click.ClickException` where there is nothing to ask, the store or the journal cannot be read, or the
    question is too much.
    """
    try:
        return asyncio.run(_ask(setup, tenant, question))
    except StoreMissingError as error:
        raise click.ClickException(f"nothing is on record in {clean(str(setup.data.root))} yet") from error
    except (StoreError, TooManyError) as error:
        raise click.ClickException(clean(str(error))) from error
    except OSError as error:
        raise click.ClickException(f"cannot read {clean(str(error.filename))}: {error.strerror}") from error


def recorded(setup: Setup, tenant: str, call: str, *, bodies: bool = True) -> Side:
    """A call on record (`last`: the newest), with what was captured of it.

    Raises `click.ClickException` where there is none.
    """

    async def read(reader: Reader) -> Side | None:
        trace = await (reader.last() if call == "last" else reader.trace(call))
        if trace is None:
            return None
        if not bodies:
            return Side(trace)
        return Side(trace, await reader.body(trace.id, "request"), await reader.body(trace.id, "response"))

    found = ask(setup, tenant, read)
    if found is None:
        raise click.ClickException(
            "no call is on record yet" if call == "last" else f"no call {clean(call)} is on record"
        )
    return found


async def _ask(setup: Setup, tenant: str, question: Callable[[Reader], Awaitable[T]]) -> T:
    # Where a gateway runs it collects by itself, and this does nothing.
    await collector.catch_up(setup.data.root, setup.settings)
    async with reading.open(setup.data.root, setup.settings.database.url, tenant=tenant) as reader:
        return await question(reader)
