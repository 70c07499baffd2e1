"""AWS Signature Version 4: what a request to AWS carries instead of a key. For all services but S3, which differs.

Pure: the moment is passed in, nothing is sent. Rules of the canonical form, each with its trap:

- The path as it is sent is encoded once more (`%20` becomes `%2520`) after dot segments and empty ones are taken out.
- Query parameters are decoded, encoded strictly and sorted by name, then value, in their encoded form; a name without
  `=` has an empty value; `+` is a plus sign, not a space.
- Header names are lower case and sorted; values are trimmed and runs of spaces in them count as one; a name that comes
  more than once has its values joined by commas, in order of arrival.
- A session token is a header of its own and is signed too.

Source: docs.aws.amazon.com, IAM user guide, "Create a signed AWS API request"; verified with the vectors of
awslabs/aws-c-auth (`tests/aws-signing-test-suite/v4`).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

ALGORITHM: Final = "AWS4-HMAC-SHA256"

_UNRESERVED: Final = "-_.~"
_PATH: Final = "/-_.~"

Headers = Sequence[tuple[bytes, bytes]]


class Signer:
    """Signs with one set of keys for one region and service."""

    __slots__ = ("_access_key_id", "_day", "_key", "_region", "_secret", "_service", "_session_token")

    def __init__(
        self, access_key_id: str, secret_access_key: str, session_token: str, *, region: str, service: str
    ) -> None:
        """`session_token`: empty for keys of unlimited life. `service`: AWS's signing name (`bedrock`, `sts`)."""
        self._access_key_id = access_key_id
        self._secret = ("AWS4" + secret_access_key).encode()
        self._session_token = session_token
        self._region = region
        self._service = service
        self._day = ""
        self._key = b""

    def sign(
        self, method: str, path: str, query: str, headers: Headers, body_sha256: str, at: int
    ) -> list[tuple[bytes, bytes]]:
        """The header lines to add, as pairs.

        `path` and `query`: as they are sent, the query without `?`. `headers`: those to be signed, `host` among them,
        and none that this adds (`x-amz-date`, `x-amz-security-token`).
        `body_sha256`: hex. `at`: Unix seconds.
        """
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        added = [(b"x-amz-date", moment.encode())]
        if self._session_token:
            added.append((b"x-amz-security-token", self._session_token.encode()))
        lines, names = canonical_headers([*headers, *added])
        request = "\n".join((method, canonical_path(path), canonical_query(query), lines, names, body_sha256))
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        to_sign = f"{ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode('latin-1')).hexdigest()}"
        signature = hmac.digest(self._key_of(moment[:8]), to_sign.encode(), "sha256").hex()
        value = f"{ALGORITHM} Credential={self._access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        added.append((b"authorization", value.encode()))
        return added

    def _key_of(self, day: str) -> bytes:
        """The signing key of a day, derived once."""
        if day != self._day:
            key = self._secret
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = key
            self._day = day
        return self._key


def canonical_path(path: str) -> str:
    """The path as it is signed."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    ending = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return quote(f"/{'/'.join(kept)}{ending}", safe=_PATH)


def canonical_query(query: str) -> str:
    """The query as it is signed."""
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_encoded(name), _encoded(value)))
    pairs.sort()
    return "&".join([f"{name}={value}" for name, value in pairs])


def canonical_headers(headers: Headers) -> tuple[str, str]:
    """The header lines as they are signed, each with its end, and their names joined by `;`."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.decode("latin-1").lower(), []).append(b" ".join(value.split()).decode("latin-1"))
    names = sorted(values)
    return "".join([f"{name}:{','.join(values[name])}\n" for name in names]), ";".join(names)


def _encoded(text: str) -> str:
    return quote_from_bytes(unquote_to_bytes(text), safe=_UNRESERVED)
