"""Every failure a client of the data plane can see: code, status, and whether a retry elsewhere is safe.

The closed list of top-level codes is part of the contract (`docs/errors.md`). How an error is worded for a caller's
SDK belongs to `dialects.errors`; this module knows no wire format. A provider's own error answer is not an error here:
it is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Kind(NamedTuple):
    """One row of the error table.

    `retry_elsewhere` says whether the same call may be sent to another candidate: only where no upstream can have
    acted on it.
    """

    code: str
    status: int
    retry_elsewhere: bool
    word: str
    """The `error.code` that the OpenAI and Anthropic dialects use for this failure."""


BAD_REQUEST: Final = Kind("BAD_REQUEST", 400, False, "invalid_request")
HEADERS_TOO_LARGE: Final = Kind("BAD_REQUEST", 431, False, "headers_too_large")
UNAUTHORIZED: Final = Kind("UNAUTHORIZED", 401, False, "invalid_api_key")
AMBIGUOUS_CREDENTIALS: Final = Kind("UNAUTHORIZED", 401, False, "ambiguous_credentials")
FORBIDDEN: Final = Kind("FORBIDDEN", 403, False, "forbidden")
SCOPE_DENIED: Final = Kind("SCOPE_DENIED", 403, False, "scope_denied")
MODEL_DENIED: Final = Kind("MODEL_DENIED", 403, False, "model_denied")
POLICY_BLOCKED: Final = Kind("POLICY_BLOCKED", 403, False, "policy_blocked")
NO_CREDENTIAL: Final = Kind("NO_CREDENTIAL", 403, True, "no_credential")
UNBOUNDED_COST: Final = Kind("UNBOUNDED_COST", 403, False, "unbounded_cost")
NOT_FOUND: Final = Kind("NOT_FOUND", 404, False, "not_found")
METHOD_NOT_ALLOWED: Final = Kind("NOT_FOUND", 405, False, "method_not_allowed")
TIMEOUT: Final = Kind("TIMEOUT", 408, False, "request_timeout")
TOO_LARGE: Final = Kind("TOO_LARGE", 413, False, "request_too_large")
UPGRADE_UNSUPPORTED: Final = Kind("UPGRADE_UNSUPPORTED", 426, False, "upgrade_unsupported")
RATE_LIMITED: Final = Kind("RATE_LIMITED", 429, False, "rate_limit_exceeded")
BUDGET_EXCEEDED: Final = Kind("BUDGET_EXCEEDED", 429, False, "insufficient_quota")
RATE_NEVER_FITS: Final = Kind("RATE_LIMITED", 429, False, "never_fits")
BUDGET_NEVER_FITS: Final = Kind("BUDGET_EXCEEDED", 429, False, "never_fits")
INTERNAL: Final = Kind("UPSTREAM_ERROR", 500, False, "internal_error")
UPSTREAM_ERROR: Final = Kind("UPSTREAM_ERROR", 502, False, "upstream_error")
UPSTREAM_UNREACHED: Final = Kind("UPSTREAM_ERROR", 502, True, "upstream_unreached")
CREDENTIAL_REJECTED: Final = Kind("CREDENTIAL_REJECTED", 502, True, "credential_rejected")
CIRCUIT_OPEN: Final = Kind("CIRCUIT_OPEN", 503, True, "circuit_open")
JOURNAL_FULL: Final = Kind("JOURNAL_FULL", 503, False, "journal_full")
OVERLOADED: Final = Kind("OVERLOADED", 503, False, "overloaded")

KINDS: Final[tuple[Kind, ...]] = tuple(kind for kind in list(globals().values()) if isinstance(kind, Kind))
"""The whole table, for the docs and for the test that proves every dialect words every row."""


class GatehouseError(Exception):
    """A call fails with this: `kind` is a row of the table, `detail` a sentence that names what is wrong and where.

    `detail` goes to the caller and to the record: it never holds a secret, a body, or a provider's address.
    `retry_after` is in seconds and the truth, whatever the header says. `facts`: what else the body says at its top
    level, JSON by name; no name of those it always has.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        retry_after: int | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.facts = facts


class ConfigError(Exception):
    """The configuration is wrong: `str(error)` is one line per problem, each with file, line and key. Exit code 2."""
