"""Trying a stored secret out: one request that changes nothing and costs nothing, to where the secret may go (I3).

Rules: an API key lists the provider's models; keys of AWS ask who they are; what a token is fetched with fetches one.
Only 401 and 403, or a refusal of the place that grants tokens, make a credential unhealthy: all else says nothing about
the secret. Nothing of an answer's body is repeated.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from gatehouse.auth.injection import Injection
from gatehouse.auth.secrets import ApiKey, AwsKeys
from gatehouse.config.settings import Callouts
from gatehouse.control.callout import Answer, Callout, CalloutError
from gatehouse.control.exchange import Places, ask_sts, regional
from gatehouse.model.access import CredentialEntry
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.store.directory.views import Credential

_SECONDS: Final = 10.0
_AZURE_MODELS: Final = "/openai/models?api-version=2024-10-21"
"""learn.microsoft.com, "Models - List", data plane, read November 2026."""
_VERSION: Final = {"anthropic-version": "2023-06-01"}
_REFUSED: Final = (401, 403)


class Verdict(msgspec.Struct, frozen=True):
    """What trying a credential out has shown."""

    healthy: bool | None
    """`null`: it could not be found out."""
    reason: str | None
    """Why not, or why nobody knows."""


async def key_tried(entry: ProviderEntry, credential: Credential, secret: ApiKey, callout: Callout) -> Verdict:
    """Try an API key."""
    if entry.private or entry.ca_file is not None:
        # What the operator's file says of this provider, it says of this request to it.
        own = Callouts(private=(credential.origin,), ca_file=entry.ca_file, seconds=_SECONDS)
        callout = await asyncio.to_thread(Callout, own)
    stored = CredentialEntry(credential.id, "", entry.name, credential.origin, credential.kind, b"")
    lines = Injection(stored, entry.auth, secret).lines(credential.origin, entry.dialect).decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines) | {"accept": "application/json"}
    if entry.dialect == "anthropic":
        headers |= _VERSION
    path = _AZURE_MODELS if entry.auth == "azure" else f"{entry.base_path}{entry.version}/models"
    try:
        answered = await callout.send("GET", f"{credential.origin}{path}", headers=headers)
    except CalloutError as error:
        return Verdict(None, str(error))
    return _judged(answered)


async def aws_tried(secret: AwsKeys, places: Places, callout: Callout, now: int) -> Verdict:
    """Try access keys: AWS STS, GetCallerIdentity, which every identity may call."""
    form = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
    try:
        answered = await ask_sts(regional(places.sts, secret.region), secret, form, callout, now)
    except CalloutError as error:
        return Verdict(None, str(error))
    return _judged(answered)


def _judged(answered: Answer) -> Verdict:
    if answered.status == 200:
        return Verdict(True, None)
    said = f"the provider answered {answered.status}"
    return Verdict(False if answered.status in _REFUSED else None, said)
