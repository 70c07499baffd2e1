"""What the control plane does by itself over the directory, put together: credentials, key sets, notices, old sessions.

Rules: wiring only. What routes ask of it works without `run` as well.
"""

from __future__ import annotations

import asyncio

from gatehouse.collector.notices import Notices
from gatehouse.control.administration import Administration
from gatehouse.control.forgetting import forget_regularly
from gatehouse.control.keysets import KeySets
from gatehouse.control.notifying import Notifying
from gatehouse.control.sealing import MasterKeys
from gatehouse.control.upkeep import Upkeep
from gatehouse.store.reading import Readers


class Duties:
    """The duties of one control process."""

    def __init__(self, administration: Administration, master_keys: MasterKeys) -> None:
        self.administration = administration
        self.master_keys = master_keys
        self.upkeep = Upkeep(administration)
        self.key_sets = KeySets(administration)
        self.notifying = Notifying(administration, self.key_sets)

    async def run(self, notices: Notices, readers: Readers) -> None:
        """Until cancelled; raises what only a bug raises. `notices`: of the collector."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.administration.run())
            group.create_task(forget_regularly(self.administration))
            group.create_task(self.upkeep.run())
            group.create_task(self.key_sets.run())
            group.create_task(self.notifying.run(notices, readers))
