"""What a workload found: rows for people, aims met or missed, and numbers for the results file."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Aim:
    """One line of the table of aims. `met` is None where the run was too short to say."""

    work: str
    aim: str
    measured: str
    met: bool | None


@dataclass
class Finding:
    """A workload's results."""

    name: str
    title: str
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, padded so that it reads well in a terminal too."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(padded)


def text(finding: Finding) -> str:
    parts = [f"\n## {finding.title}\n"]
    if finding.rows:
        parts.append(table(finding.columns, finding.rows))
    parts += [f"\n{note}" for note in finding.notes]
    return "\n".join(parts)


def aims_table(findings: Iterable[Finding]) -> str:
    words = {True: "met", False: "MISSED", None: "not judged"}
    rows = [(aim.work, aim.aim, aim.measured, words[aim.met]) for finding in findings for aim in finding.aims]
    return table(("work", "aim", "measured", ""), rows) if rows else ""


def save(path: Path, facts: dict[str, str], mode: str, findings: Sequence[Finding]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": facts,
        "mode": mode,
        "aims": [vars(aim) for finding in findings for aim in finding.aims],
        "workloads": {finding.name: {"rows": finding.rows, **finding.numbers} for finding in findings},
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
