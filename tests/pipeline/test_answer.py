"""pipeline/answer.py `say`: which headers tell SDKs to try again, and which that it is no use."""

from __future__ import annotations

import pytest

from gatehouse import errors
from gatehouse.dialects.registry import for_endpoint
from gatehouse.errors import KINDS, GatehouseError, Kind
from gatehouse.pipeline.answer import say


def told(kind: Kind, retry_after: int | None) -> tuple[str | None, str | None]:
    """(retry-after, x-should-retry)"""
    _, head, _ = say(GatehouseError(kind, "no", retry_after=retry_after), for_endpoint("openai", "chat"), "id")
    found = dict(line.split(": ") for line in head.decode().split("\r\n") if line)
    return found.get("retry-after"), found.get("x-should-retry")


def test_a_short_wait_is_told_and_a_long_one_is_not() -> None:
    assert told(errors.RATE_LIMITED, 60) == ("60", None)
    assert told(errors.RATE_LIMITED, 61) == (None, "false")
    assert told(errors.OVERLOADED, None) == (None, None)


@pytest.mark.parametrize("retry_after", [None, 1, 86_400])
def test_spend_that_is_used_up_is_not_retried(retry_after: int | None) -> None:
    expected = "1" if retry_after == 1 else None
    assert told(errors.BUDGET_EXCEEDED, retry_after) == (expected, "false")


@pytest.mark.parametrize("kind", [errors.BUDGET_NEVER_FITS, errors.RATE_NEVER_FITS])
def test_what_never_fits_is_not_retried(kind: Kind) -> None:
    assert told(kind, None) == (None, "false")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.status in (400, 401, 403, 413)], ids=str)
def test_the_callers_faults_are_not_retried(kind: Kind) -> None:
    assert told(kind, None) == (None, "false")
