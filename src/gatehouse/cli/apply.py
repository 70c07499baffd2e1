"""`gatehouse apply -f FILE`: makes projects, credentials, keys and limits as a file says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import click

from gatehouse.cli import applying, declared
from gatehouse.cli.client import Api, Where, api_options
from gatehouse.cli.planning import plan
from gatehouse.cli.steps import Plan, State, Step
from gatehouse.cli.terminal import json_line
from gatehouse.cli.words import counted
from gatehouse.config.printable import clean


@click.command(name="apply")
@click.option("-f", "--file", required=True, type=click.Path(path_type=Path), help="What to apply; `-` for stdin.")
@click.option("--prune", is_flag=True, help="Delete what the file's sections and lists do not hold.")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option(
    "--keys-out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="New file (0600) for what is shown once: texts of new keys, keys of new hooks. Else stdout.",
)
@api_options
def command(where: Where, /, file: Path, prune: bool, dry_run: bool, keys_out: Path | None) -> None:
    """Make projects, credentials, keys and limits as FILE says. What is so already is left alone."""
    wanted = declared.read_file(file)

    async def work(api: Api) -> int:
        now = await applying.state(api)
        planned = plan(wanted.document, now, prune=prune)
        if planned.problems:
            raise wanted.wrong(planned.problems)
        if dry_run:
            for step in planned.steps:
                click.echo(clean(step.says))
            return len(planned.steps)
        await _apply(api, planned, now, where.environ, keys_out)
        return len(planned.steps)

    done = where.run(work)
    words = counted(done, "step") if done else "nothing to do"
    click.echo(f"{words}{', not done (--dry-run)' if done and dry_run else ''}", err=True)


async def _apply(api: Api, planned: Plan, now: State, environ: Mapping[str, str], keys_out: Path | None) -> None:
    given = applying.secrets(planned.steps, environ)
    with ExitStack() as stack:
        keep: Callable[[str], None] = click.echo
        if keys_out is not None and any(_shows(step) for step in planned.steps):
            keep = _kept(stack.enter_context(_private(keys_out)))

        def tell(step: Step, answer: Any) -> None:
            once = _once(step, answer)
            if once is not None:
                keep(json_line(once))
            click.echo(clean(step.says), err=True)

        await applying.apply(api, planned.steps, now, given, tell)


def _shows(step: Step) -> bool:
    """Whether its answer may hold what is shown once."""
    return step.path[0] == "/api/v1/keys" or (step.body is not None and step.body.get("rotate_hook") is not None)


def _once(step: Step, answer: Any) -> dict[str, Any] | None:
    """What is shown this once, as a line of JSON."""
    if not _shows(step) or answer is None:
        return None
    if step.path[0] == "/api/v1/keys":
        project = step.says.removeprefix("+ key ").removesuffix(f"/{answer['name']}")
        return {"kind": "key", "project": project, **{name: answer[name] for name in ("name", "id", "key")}}
    if answer.get("hook_key") is None:
        return None
    return {"kind": "credential", **{name: answer[name] for name in ("name", "id", "hook_key")}}


def _private(path: Path) -> IO[str]:
    """A new file that nobody else can read. Raises `click.ClickException`: an older one may hold keys."""
    try:
        return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"--keys-out: cannot make {clean(str(path))}: {error.strerror}") from error


def _kept(file: IO[str]) -> Callable[[str], None]:
    def keep(line: str) -> None:
        file.write(f"{line}\n")
        # On disk before the next key is made: this is the only copy.
        file.flush()
        os.fsync(file.fileno())

    return keep
