"""New secrets in place of old ones: the `rotate` hook, and which credentials are due for it.

The hook is a URL that somebody set for a credential: it is called through the guarded client, told which credential is
meant and never the old secret, and answers with the new one. What it answers is read as the API reads it. A receiver
checks `x-gatehouse-signature` (`control.callout.signature`) under the key it was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from gatehouse.auth.secrets import Given, read
from gatehouse.auth.vault import Binding
from gatehouse.control.callout import Callout, CalloutError, signature
from gatehouse.model.access import CredentialKind

REMIND_SECONDS: Final = 7 * 86_400
"""After this, of a credential that stays overdue the tenant is reminded again."""

_DAY: Final = 86_400


class RotationError(Exception):
    """The hook gave no new secret; `str(error)` says why, without a secret. The old one stays in force."""


class _Answered(msgspec.Struct, frozen=True):
    secret: str | dict[str, str]


class Rotation(NamedTuple):
    """When a credential's secret is to be replaced. Times in Unix seconds."""

    credential: str
    changed: int
    """When its secret was stored."""
    every_days: int
    reminded: int = 0
    """When the last reminder was; 0: none since the secret was stored."""


def due(rotations: Iterable[Rotation], now: int) -> list[str]:
    """The credentials to rotate or remind of now, the longest overdue first."""
    found = []
    for rotation in rotations:
        overdue = now - rotation.changed - rotation.every_days * _DAY
        if overdue >= 0 and (rotation.reminded <= rotation.changed or now - rotation.reminded >= REMIND_SECONDS):
            found.append((-overdue, rotation.credential))
    return [credential for _, credential in sorted(found)]


async def rotated(callout: Callout, url: str, binding: Binding, kind: CredentialKind, *, key: bytes, now: int) -> Given:
    """The new secret from the hook at `url`. `key`: of the signature. Raises `RotationError`."""
    asked: Mapping[str, object] = {
        "event": "credential.rotate",
        "time": now,
        "tenant": binding.tenant,
        "credential": binding.credential,
        "provider": binding.provider,
        "origin": binding.origin,
        "kind": kind,
    }
    body = msgspec.json.encode(asked)
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "x-gatehouse-signature": signature(key, body, now),
    }
    try:
        answer = await callout.send("POST", url, headers=headers, body=body)
    except CalloutError as error:
        raise RotationError(str(error)) from error
    if answer.status != 200:
        raise RotationError(f"the rotate hook of credential {binding.credential} answered {answer.status}")
    try:
        return read(kind, msgspec.json.decode(answer.body, type=_Answered).secret)
    except msgspec.MsgspecError:
        # Not chained: the text may quote the answer.
        raise RotationError(
            f'the rotate hook of credential {binding.credential} answered something other than {{"secret": …}}'
        ) from None
    except ValueError as error:
        raise RotationError(f"the rotate hook of credential {binding.credential}: {error}") from None
