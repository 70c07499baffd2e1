"""Does the steps of a plan, some at a time, and keeps what is shown once.

Rules: what a step made, and its secret, is told before the next thing can go wrong: nothing under way is cut off when
another step fails or Ctrl-C is pressed, but no new one begins. The ids of what was made are known to later phases.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from gatehouse.cli.client import Api
from gatehouse.cli.confidential import content, read
from gatehouse.cli.declared import From
from gatehouse.cli.steps import Ref, State, Step
from gatehouse.errors import ConfigError

AT_A_TIME: Final = 8

Tell = Callable[[Step, Any], None]
"""A step that is done, and what the API answered."""


async def state(api: Api) -> State:
    """What there is now."""
    projects, credentials, keys, limits, users = await asyncio.gather(
        *(api.every(f"/api/v1/{name}") for name in ("projects", "credentials", "keys", "limits", "users"))
    )
    taken = [each for each in keys if each["succeeded_by"] is None]
    rotated = [each for each in keys if each["succeeded_by"] is not None]
    emails = {each["id"]: each["email"] for each in users if each["email"]}
    return State(projects, credentials, taken, limits, emails, rotated)


def secrets(steps: Iterable[Step], environ: Mapping[str, str]) -> dict[Ref, str | dict[str, Any]]:
    """What the steps' secrets are, from where the file says. Raises `ConfigError`, `click.UsageError`."""
    found: dict[Ref, str | dict[str, Any]] = {}
    for step in steps:
        if step.secret is not None and step.makes is not None:
            found[step.makes] = read(_text(step.secret, step.makes, environ), step.kind)
    return found


async def apply(
    api: Api, steps: Iterable[Step], before: State, given: Mapping[Ref, str | dict[str, Any]], tell: Tell
) -> None:
    """Do all steps. Raises `click.ClickException` with what failed, when those under way are over."""
    ids = _ids(before)

    async def one(step: Step) -> None:
        answer = await _done(api, step, ids, given)
        try:
            tell(step, answer)
        except OSError as error:
            lost = "done, but what is shown once could not be written"
            raise click.ClickException(f"{step.says}: {lost}: {error.strerror}; revoke or rotate it") from error

    for _, phase in itertools.groupby(steps, key=lambda step: step.phase):
        await _all(phase, one)


async def _all(steps: Iterable[Step], do: Callable[[Step], Awaitable[None]]) -> None:
    """These, `AT_A_TIME`. Raises what failed, once nothing is under way any more."""
    waiting = iter(steps)
    failed: list[str] = []

    async def work() -> None:
        for step in waiting:
            try:
                await _whole(do(step))
            except click.ClickException as error:
                failed.append(error.message)
            if failed:
                return

    # Not `gather`: cancelled, it ends with the first of them that does, and the others would be cut off.
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_A_TIME):
            group.create_task(work())
    if failed:
        raise click.ClickException("\n".join(failed))


async def _whole(doing: Awaitable[None]) -> None:
    """To its end, also where Ctrl-C is pressed meanwhile: a key may be made by now, and its text is told once."""
    task = asyncio.ensure_future(doing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


async def _done(api: Api, step: Step, ids: dict[Ref, str], given: Mapping[Ref, str | dict[str, Any]]) -> Any:
    path = "".join(part if isinstance(part, str) else ids[part] for part in step.path)
    body = None if step.body is None else {name: _real(value, ids) for name, value in step.body.items()}
    if body is not None and step.makes is not None and step.makes in given:
        body["secret"] = given[step.makes]
    try:
        answer = await api.request(step.method, path, body)
    except click.ClickException as error:
        raise click.ClickException(f"{step.says}: {error.message}") from error
    if step.makes is not None:
        ids[step.makes] = answer["id"]
    return answer


def _real(value: Any, ids: Mapping[Ref, str]) -> Any:
    return ids[value] if isinstance(value, Ref) else value


def _ids(state: State) -> dict[Ref, str]:
    ids = {Ref("project", each["name"].casefold()): each["id"] for each in state.projects}
    ids |= {Ref("credential", each["name"].casefold()): each["id"] for each in state.credentials}
    names = {each["id"]: each["name"].casefold() for each in state.projects}
    for each in state.keys:
        if each["name"] is not None and each["project"] in names:
            ids[Ref("key", f"{names[each['project']]}/{each['name']}")] = each["id"]
    return ids


def _text(place: From, ref: Ref, environ: Mapping[str, str]) -> str:
    if place.file is not None:
        return content(str(Path(place.file).expanduser()), "the secret")
    text = environ.get(place.env or "", "")
    if not text.strip():
        raise ConfigError(
            f"credential {ref.name}: the variable {place.env}, which holds its secret, is not set or empty"
        )
    return text
