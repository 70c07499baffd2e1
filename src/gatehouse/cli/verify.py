"""`gatehouse verify`: whether the journal is whole and as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from gatehouse.cli.options import data_option
from gatehouse.cli.words import counted
from gatehouse.config.paths import DataDir
from gatehouse.config.printable import clean
from gatehouse.journal.lines import JournalError
from gatehouse.journal.verify import Report, verify


@click.command(name="verify")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@data_option
@click.pass_obj
def command(environ: Mapping[str, str], path: Path | None, data: str | None) -> int:
    """Check every line and every chain of the journal, and that each call has its outcome.

    PATH is a journal directory, one lane's directory or one segment; else the journal of the data directory. Exit code
    1 if anything does not hold; the first bad line is named. A running gateway may be checked.
    """
    chosen = path or DataDir.locate(data, environ).journal
    try:
        report = verify(chosen)
    except FileNotFoundError as error:
        raise click.ClickException(f"there is no journal at {clean(str(chosen))}") from error
    except OSError as error:
        raise click.ClickException(f"cannot read {clean(str(error.filename or chosen))}: {error.strerror}") from error
    except JournalError as error:
        raise click.ClickException(clean(str(error))) from error
    if not report.lines and report.ok:
        # "Intact" of the wrong directory would be worse than no answer.
        raise click.ClickException(f"there is no journal at {clean(str(chosen))}")
    click.echo(f"{'intact' if report.ok else 'BROKEN'}: {clean(str(chosen))}")
    for line in details(report):
        click.echo(f"  {clean(line)}")
    return 0 if report.ok else 1


def details(report: Report) -> list[str]:
    """What was found, the first bad line first."""
    lines = [f"first bad line: {report.first_bad}"] if report.first_bad else []
    lines.append(
        f"{counted(report.lines, 'line')} in {counted(report.segments, 'segment')} of {counted(report.lanes, 'lane')}, "
        f"{counted(report.calls, 'call')}"
    )
    if report.open_calls:
        lines.append(
            f"{counted(report.open_calls, 'call')} without outcome yet: running, or to be closed by `gatehouse serve`"
        )
    if report.erased:
        lines.append(f"{counted(report.erased, 'line')} with an erased body")
    if report.deleted:
        lines.append(f"{counted(report.deleted, 'line')} deleted by retention, as recorded")
    lines += [f"half a line at {place}, which the next `gatehouse serve` sets aside" for place in report.torn]
    return lines
