"""How people and programs come in, put together from the settings and the secrets of the data directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gatehouse.auth.platform import PlatformTokens
from gatehouse.config.paths import DataDir, create_or_read_secret, read_private
from gatehouse.config.settings import Settings, Sso
from gatehouse.control.accounts import Accounts
from gatehouse.control.administration import Administration
from gatehouse.control.cookies import Origins
from gatehouse.control.duties import Duties
from gatehouse.control.oidc import Provider
from gatehouse.control.sealing import MasterKeys
from gatehouse.control.sso import SingleSignOn
from gatehouse.errors import ConfigError

_SECRET_BYTES: Final = 4096


class Doors(NamedTuple):
    """All that the gate and the routes of signing in need."""

    accounts: Accounts
    sso: SingleSignOn | None
    duties: Duties


def opened(
    administration: Administration,
    data: DataDir,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    local_token: bytes,
) -> Doors:
    """One per process. `local_token`: what the operator comes with. Raises `ConfigError` for a secret that is not
    there, or not safe."""
    sso = settings.sso
    duties = Duties(administration, MasterKeys(settings.secrets, data, environ))
    accounts = Accounts(
        administration=administration,
        data=data,
        tokens=PlatformTokens(create_or_read_secret(data.platform_jwt)),
        origins=Origins(settings.server.public_url),
        local_token=local_token,
        enabled=settings.auth.enabled,
        sso=sso.issuer is not None,
    )
    if sso.issuer is None:
        return Doors(accounts, None, duties)
    provider = Provider(sso, client_secret(sso, environ), administration.means.callout)
    return Doors(accounts, SingleSignOn(accounts, sso, provider), duties)


def client_secret(sso: Sso, environ: Mapping[str, str]) -> str | None:
    """The secret that the sign-on provider knows us by. Raises `ConfigError`."""
    if sso.client_secret_env is not None:
        found = environ.get(sso.client_secret_env, "").strip()
        if not found:
            raise ConfigError(f"sso.client_secret_env: the variable {sso.client_secret_env} is not set")
        return found
    if sso.client_secret_file is None:
        return None
    try:
        text = read_private(Path(os.path.abspath(sso.client_secret_file)), _SECRET_BYTES).decode().strip()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ConfigError(f"sso.client_secret_file: {sso.client_secret_file} is missing, or no text") from error
    if not text:
        raise ConfigError(f"sso.client_secret_file: {sso.client_secret_file} is empty")
    return text
