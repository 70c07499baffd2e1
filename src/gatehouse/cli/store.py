"""`gatehouse store`: what is done to the store as a whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from gatehouse.cli.options import Setup, config_option, data_option, set_up
from gatehouse.cli.words import counted
from gatehouse.collector.rebuild import NotRebuiltError, Rebuilt, rebuild
from gatehouse.config.printable import clean
from gatehouse.store import times
from gatehouse.store.engine import StoreError


@click.group(name="store")
def command() -> None:
    """The store: where calls are looked up, made from the journal."""


@command.command(name="rebuild")
@click.option("--discard-older", is_flag=True, help="Drop calls that the journal does not hold any more.")
@data_option
@config_option
@click.pass_obj
def rebuild_command(environ: Mapping[str, str], discard_older: bool, data: str | None, config: Path | None) -> int:
    """Build the store anew from the journal, beside the old one, and put it in its place.

    The gateway must not run. Calls that the store has and the journal has not any more are not dropped unless told to.
    """
    setup = set_up(environ, data, config)
    try:
        done = _rebuild(setup, discard_older)
    except (NotRebuiltError, StoreError) as error:
        raise click.ClickException(clean(str(error))) from error
    except OSError as error:
        raise click.ClickException(f"{clean(str(error.filename or setup.data.root))}: {error.strerror}") from error
    for line in _told(done):
        click.echo(clean(line))
    return 1 if done.stopped else 0


def _rebuild(setup: Setup, discard_older: bool) -> Rebuilt:
    if not sys.stderr.isatty():
        return asyncio.run(rebuild(setup.data.root, setup.settings, discard_older=discard_older, progress=_silent))
    with Console(stderr=True).status("reading the journal") as status:

        def progress(lines: int) -> None:
            status.update(f"{lines:,} lines of the journal collected")

        return asyncio.run(rebuild(setup.data.root, setup.settings, discard_older=discard_older, progress=progress))


def _silent(_lines: int) -> None:
    """Nobody looks."""


def _told(done: Rebuilt) -> list[str]:
    back = "" if done.reaches is None else f", which reaches back to {times.rfc3339(done.reaches)}"
    lines = [f"rebuilt from {counted(done.lines, 'line')} of the journal{back}"]
    if done.discarded.calls:
        first, last = times.rfc3339(done.discarded.first), times.rfc3339(done.discarded.last)
        lines.append(f"{counted(done.discarded.calls, 'call')} begun between {first} and {last} discarded")
    if done.unreadable:
        lines.append(f"{counted(done.unreadable, 'line')} left out: they could not be read")
    lines += [f"lane {lane.lane} is not collected beyond line {lane.seq}: {lane.reason}" for lane in done.stopped]
    return lines
