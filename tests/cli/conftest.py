"""Command lines run in this process, in an environment that is passed in; output as a user sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gatehouse.cli.main import run


class Result(NamedTuple):
    """What a command line did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory that is not there yet."""
    return tmp_path / "data"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], data: Path) -> Cli:
    """`cli("report", "--since", "7d", GATEHOUSE_SERVER__PORT="1")`, on its own data directory."""

    def call(*arguments: str, **environ: str) -> Result:
        capsys.readouterr()
        code = run(arguments, {"GATEHOUSE_DATA": str(data), "HOME": str(data.parent), **environ})
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call
