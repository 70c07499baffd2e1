"""Unseals stored credentials for a worker: master keys in, injections out.

Rules: keys are read when the first credential needs them, and again when a secret was sealed with a newer one. A secret
that does not open is logged by its credential's id and serves nothing; the others go on. Nothing here is ever shown.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from gatehouse.auth.injection import Injection, injection
from gatehouse.auth.vault import Vault, VaultError
from gatehouse.config import masterkeys
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Secrets
from gatehouse.errors import ConfigError
from gatehouse.model.access import CredentialEntry
from gatehouse.model.snapshot import ProviderEntry

_log: Final = logging.getLogger(__name__)


class Unsealer:
    """The master keys of one process, as far as they are needed."""

    def __init__(self, secrets: Secrets, data: DataDir, environ: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._data = data
        self._environ = environ
        self._vault: Vault | None = None

    def prepare(self, credentials: Mapping[str, CredentialEntry]) -> None:
        """Before the first of these is opened. Raises `ConfigError` where their master keys cannot be read."""
        if credentials and self._vault is None:
            self._vault = self._read()

    def open(self, entry: CredentialEntry, provider: ProviderEntry) -> Injection | None:
        """The credential, ready for requests; `None` where it cannot be used, which is logged."""
        try:
            return self._opened(entry, provider)
        except (VaultError, ValueError, ConfigError) as error:
            _log.error("credential %s cannot be used: %s", entry.id, error)
            return None

    def _opened(self, entry: CredentialEntry, provider: ProviderEntry) -> Injection:
        if self._vault is not None:
            try:
                return injection(entry, provider.auth, self._vault)
            except VaultError:
                # Perhaps the master keys were rotated meanwhile.
                self._vault = None
        self._vault = self._read()
        return injection(entry, provider.auth, self._vault)

    def _read(self) -> Vault:
        return Vault(masterkeys.read(self._secrets, self._data, self._environ, create=False))
