"""An issuer to test with: its keys, its key set, and the tokens it signs, well and badly."""

from __future__ import annotations

import base64
import json
from typing import Any

from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gatehouse.model.access import IssuerEntry

NOW = 1_800_000_000.0
NAME = "https://id.example"
AUDIENCE = "https://gateway.example"

RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
KEYS: dict[str, Key] = {"rsa": RSA, "ec": EC, "ed": ED}
STRANGER = ECKey.generate_key("P-256")
"""A key of somebody else."""


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def key_set(keys: dict[str, Key], **more: Any) -> bytes:
    """A JWKS of their public halves."""
    return json.dumps(
        {"keys": [{**key.as_dict(private=False), "kid": kid, **more} for kid, key in keys.items()]}
    ).encode()


def issuer(**changes: Any) -> IssuerEntry:
    fields: dict[str, Any] = {
        "id": "iss_1", "tenant": "ten_1", "issuer": NAME, "audience": AUDIENCE,
        "algorithms": ("RS256", "ES256", "Ed25519"), "jwks": key_set(KEYS),
    }  # fmt: skip
    return IssuerEntry(**{**fields, **changes})


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; `None` leaves a claim out."""
    all_of_them = {
        "iss": NAME, "aud": AUDIENCE, "sub": "user-1", "azp": "app-1", "groups": ["dev", "ops"],
        "iat": int(NOW), "exp": int(NOW) + 3600, **changes,
    }  # fmt: skip
    return {name: value for name, value in all_of_them.items() if value is not None}


def token(
    key: Key = EC, kid: str | None = "ec", alg: str = "ES256", header: dict[str, Any] | None = None, **changes: Any
) -> bytes:
    """A signed token."""
    head = {"alg": alg, **({"kid": kid} if kid is not None else {}), **(header or {})}
    return signed(head, json.dumps(claims(**changes)).encode(), key)


def signed(header: dict[str, Any] | bytes, payload: bytes, key: Key) -> bytes:
    """Whatever it says, signed by the algorithm that suits the key."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    signing_input = b64(text) + b"." + b64(payload)
    model = JWSRegistry.algorithms[{"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519", "oct": "HS256"}[key.key_type]]
    return signing_input + b"." + b64(model.sign(signing_input, key))


def hmac_key(secret: bytes) -> OctKey:
    """A key made of anything, a published one say, which joserfc itself would not make."""
    return OctKey(secret, secret)
