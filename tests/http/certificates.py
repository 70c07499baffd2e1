"""Certificates for tests: self-signed, each its own authority."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def self_signed(directory: Path, names: str) -> Path:
    """One PEM file with key and certificate. `names`: subjectAltName, such as `DNS:localhost,IP:127.0.0.1`."""
    key, cert, both = (directory / f"{names.replace(':', '-')}.{ending}" for ending in ("key", "cert", "pem"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*command.split(), "-addext", f"subjectAltName={names}", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
        timeout=30,
    )
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    return both


def server_context(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
