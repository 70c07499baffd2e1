"""What the directory holds of secrets does not show itself, whoever prints it."""

from __future__ import annotations

import pytest
import rich.pretty

from gatehouse.model.guarded import Guarded
from gatehouse.store.directory.changes import NewKey, NewWebhook
from gatehouse.store.directory.views import Hook, LogIn

PLANTED = "planted-0123456789"


@pytest.mark.parametrize(
    "value",
    [
        NewKey("key_1", PLANTED.encode(), PLANTED, "default"),
        NewWebhook(f"https://{PLANTED}.example", PLANTED.encode()),
        LogIn("default", "usr_1", "owner", PLANTED),
        Hook("default", f"https://{PLANTED}.example", PLANTED.encode(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_shows_itself(value: Guarded) -> None:
    for shown in (repr(value), str(value), repr([value]), rich.pretty.pretty_repr(value)):
        assert "planted" not in shown
        assert type(value).__name__ in shown
