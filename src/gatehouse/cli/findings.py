"""What a doctor says: findings with a level, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import click

from gatehouse.config.printable import clean

Level = Literal["ok", "warn", "fail"]

_COLOURS: Final[dict[Level, str]] = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(NamedTuple):
    """One line of a diagnosis."""

    level: Level
    subject: str
    says: str
    fix: str = ""
    """What to do; empty where nothing has to be done."""


def show(findings: Iterable[Finding]) -> int:
    """Print findings as they come; returns the exit code: 1 if any failed."""
    code = 0
    for finding in findings:
        level = click.style(f"{finding.level:<5}", fg=_COLOURS[finding.level])
        click.echo(f"{level} {clean(finding.subject):<14} {clean(finding.says)}")
        if finding.fix:
            click.echo(f"{'':<20} → {clean(finding.fix)}")
        if finding.level == "fail":
            code = 1
    return code
