"""One call's place in the limits: who it is made for, and what it holds.

Rules: the pipeline makes one per call and hands it back at each step; only the limiter that admitted it writes to it.
"""

from __future__ import annotations

from gatehouse.model.limits import Reserved, Settled


class Claim:
    """Who calls what, by ids, and what the call reserved and settled."""

    __slots__ = (
        "credential", "kept", "key", "model", "project", "reserved", "reserves", "settled", "skipped",
        "tenant", "user",
    )  # fmt: skip

    def __init__(
        self,
        tenant: str,
        project: str,
        key: str | None = None,
        user: str | None = None,
        model: str | None = None,
        credential: str | None = None,
    ) -> None:
        self.tenant = tenant
        self.project = project
        self.key = key
        self.user = user
        self.model = model
        """As the caller wrote it."""
        self.credential = credential
        """Id of the stored credential of the first candidate; `None`: the caller brought its own key."""
        self.reserved: tuple[Reserved, ...] = ()
        """What the decision carries: tokens and spend, after `reserve`."""
        self.settled: tuple[Settled, ...] = ()
        """What the outcome carries, counter by counter in the same order, after `settle`."""
        self.skipped: tuple[str, ...] = ()
        """What the decision carries: limits that could not be checked and let the call pass, each with why (I7)."""
        self.reserves = False
        """Limits on tokens or spend concern it: they want to know its bound."""
        self.kept: object | None = None
        """What the limiter keeps of the call, in its own type; `None`: it holds nothing."""

    @property
    def holder(self) -> str:
        """Whose share of a limit the call takes: its key's, else its user's."""
        return self.key or self.user or ""
