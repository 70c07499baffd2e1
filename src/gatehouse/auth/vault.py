"""Provider secrets at rest: sealed, and bound to what they were stored for (I3).

Rules: what is sealed is the secret together with its tenant, its credential, its provider and the one origin it may go
to; `open` compares all four with what the row or entry says now. So a sealed secret that is copied into another row, or
whose row is pointed at another provider or origin, does not open. Errors name the credential and what differs, never
the secret. Pure: keys come in as values (`config.masterkeys`).

Sealed: Fernet (AES-128-CBC with HMAC-SHA256) over MessagePack of `_Content`. The newest key seals, each key opens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from gatehouse.auth.secrets import Kept, Secret
from gatehouse.errors import ConfigError
from gatehouse.model.access import CredentialEntry

_VERSION: Final = 1
_NAMED: Final = 3
"""Credentials that a message names; of the rest it gives the number."""


class VaultError(Exception):
    """A secret that does not open; `str(error)` names the credential and why, never the secret."""


class Binding(msgspec.Struct, frozen=True):
    """What a secret is stored for."""

    tenant: str
    credential: str
    provider: str
    origin: str


class _Content(msgspec.Struct, frozen=True, array_like=True):
    version: int
    binding: Binding
    secret: Secret


_T = TypeVar("_T", bound=Kept)


class Vault:
    """Seals and opens under the master keys."""

    __slots__ = ("_content", "_keys")

    def __init__(self, keys: Sequence[bytes]) -> None:
        """`keys`: Fernet keys, the newest first, at least one. Raises `ValueError` for anything else."""
        self._keys = MultiFernet([Fernet(key) for key in keys])
        self._content = msgspec.msgpack.Decoder(_Content)

    def renew(self, keys: Sequence[bytes]) -> None:
        """Go on with other master keys, given as at the start."""
        self._keys = MultiFernet([Fernet(key) for key in keys])

    def seal(self, binding: Binding, secret: Secret) -> bytes:
        """The secret, bound."""
        return self._keys.encrypt(msgspec.msgpack.encode(_Content(_VERSION, binding, secret)))

    def open(self, binding: Binding, sealed: bytes, kinds: tuple[type[_T], ...]) -> _T:
        """The secret, if it was sealed for exactly this binding and is one of `kinds`. Raises `VaultError`."""
        found = self._opened(binding.credential, sealed)
        for field in binding.__struct_fields__:
            was, now = getattr(found.binding, field), getattr(binding, field)
            if was != now:
                raise VaultError(
                    f"the secret of credential {binding.credential} was stored for {field} {was}, not {now}; "
                    f"store it again"
                )
        secret: Kept = found.secret
        if not isinstance(secret, kinds):
            raise VaultError(
                f"the secret of credential {binding.credential} is of another kind ({type(secret).__name__}) than "
                f"its entry says; store it again"
            )
        return secret

    def rotate(self, credential: str, sealed: bytes) -> bytes:
        """The same under the newest key. Raises `VaultError`."""
        try:
            return self._keys.rotate(sealed)
        except InvalidToken:
            raise _closed(credential) from None

    def check(self, entries: Iterable[CredentialEntry]) -> None:
        """Check, before anything is served, that each of these that holds a secret opens.

        Raises `ConfigError`: one sentence for the operator.
        """
        failed = []
        for entry in entries:
            if not entry.sealed:
                continue
            try:
                self.open(binding_of(entry), entry.sealed, (Kept,))
            except VaultError as error:
                failed.append(str(error))
        if failed:
            more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
            raise ConfigError(f"stored provider secrets cannot be opened: {'; '.join(failed[:_NAMED])}{more}")

    def _opened(self, credential: str, sealed: bytes) -> _Content:
        if not sealed:
            raise VaultError(f"nothing is stored yet for credential {credential}: its token is still to be fetched")
        try:
            content = self._content.decode(self._keys.decrypt(sealed))
        except InvalidToken:
            raise _closed(credential) from None
        except msgspec.MsgspecError:
            # Not chained: it may say what it found.
            raise VaultError(f"the secret of credential {credential} was sealed by another version") from None
        if content.version != _VERSION:
            raise VaultError(f"the secret of credential {credential} was sealed by another version")
        return content


def binding_of(entry: CredentialEntry) -> Binding:
    """What an entry of the snapshot says its secret is stored for."""
    return Binding(entry.tenant, entry.id, entry.provider, entry.origin)


def _closed(credential: str) -> VaultError:
    return VaultError(f"none of the master keys opens the secret of credential {credential}")
