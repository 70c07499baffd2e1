"""Certificate files that the settings name: read here, so that what is wrong with one is said with its setting."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from gatehouse.config.settings import Server, Settings
from gatehouse.errors import ConfigError


def listener(server: Server) -> ssl.SSLContext | None:
    """What the listener shows its clients; `None`: it speaks plain HTTP. Raises `OSError`, `ValueError`."""
    if server.tls_cert is None or server.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    # Without a password OpenSSL would ask the terminal for that of an encrypted key.
    context.load_cert_chain(server.tls_cert, server.tls_key, password=lambda: "")
    return context


def problems(settings: Settings) -> Iterator[str]:
    """What is wrong with the files, a sentence each."""
    server = settings.server
    try:
        listener(server)
    except (OSError, ValueError) as error:
        files = f"{server.tls_cert}, {server.tls_key}"
        yield f"server.tls_cert and server.tls_key cannot be used: {error} ({files})"
    bundles = {f"providers.{name}.ca_file": provider.ca_file for name, provider in settings.providers.items()}
    for key, bundle in (bundles | {"callouts.ca_file": settings.callouts.ca_file}).items():
        if bundle is not None:
            try:
                ssl.create_default_context(cafile=bundle)
            except (OSError, ValueError) as error:
                yield f"{key} cannot be used: {error} ({bundle})"


def check(settings: Settings) -> None:
    """Raises `ConfigError` if a file cannot be used."""
    found = "\n".join(problems(settings))
    if found:
        raise ConfigError(found)
