"""The options that commands share, and what they lead to: the data directory and the settings in force."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from gatehouse.config import load
from gatehouse.config.load import Effective, Flag
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.errors import ConfigError
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.providers.builtin import BUILTIN, SIMULATED
from gatehouse.providers.entries import entries

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Setup(NamedTuple):
    """Where a command works, and by which settings."""

    data: DataDir
    effective: Effective
    providers: dict[str, ProviderEntry]

    @property
    def settings(self) -> Settings:
        return self.effective.settings


def data_option(command: _Command) -> _Command:
    """`--data DIR`."""
    return click.option("--data", metavar="DIR", help="Data directory; else GATEHOUSE_DATA, else the XDG default.")(
        command
    )


def config_option(command: _Command) -> _Command:
    """`--config FILE`."""
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Configuration file; else GATEHOUSE_CONFIG, else gatehouse.yaml here or in the data directory.",
    )(command)


def tenant_option(command: _Command) -> _Command:
    """`--tenant ID`."""
    return click.option(
        "--tenant",
        metavar="ID",
        default="default",
        show_default=True,
        help="Whose calls, where there are several tenants.",
    )(command)


def wanted(body: Mapping[str, Any], enable: bool = False) -> dict[str, Any]:
    """What an `update` asks for: what was named, and `--enable`. Raises `click.UsageError` where nothing was."""
    asked = {**body, "disabled": False} if enable else dict(body)
    if not asked:
        raise click.UsageError("Name something to change.")
    return asked


def set_up(environ: Mapping[str, str], data: str | None, config: Path | None, flags: Sequence[Flag] = ()) -> Setup:
    """Read the configuration and all that depends on it. Raises `ConfigError` with every problem."""
    directory = DataDir.locate(data, environ)
    file = load.find(config, environ, (Path(), directory.root))
    effective = load.resolve(file, environ, flags, accounts=directory.accounts.exists())
    problems = list(_unknown_priced(effective.settings))
    providers: dict[str, ProviderEntry] = {}
    try:
        providers = entries(effective.settings)
    except ConfigError as error:
        problems += str(error).splitlines()
    if problems:
        raise ConfigError("\n".join(load.placed(effective, problem) for problem in problems))
    return Setup(directory, effective, providers)


def _unknown_priced(settings: Settings) -> Iterator[str]:
    """Prices for a provider that nobody is called: misspelt, they would never be used."""
    known = {SIMULATED, *settings.providers, *(row.name for row in BUILTIN)}
    for index, price in enumerate(settings.prices.models):
        if price.provider not in known:
            close = difflib.get_close_matches(price.provider, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"prices.models[{index}].provider: no provider is called `{price.provider}`{hint}"
