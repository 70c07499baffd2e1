"""`gatehouse events`: thresholds of limits, and other warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from gatehouse.cli.audit import echo_events, event_options
from gatehouse.cli.client import Where, api_options


@click.command(name="events")
@event_options
@click.option("--action", multiple=True, help="Only this one, such as `limit.threshold`; may be given again.")
@click.option("--target", metavar="ID", help="Only of this limit, credential or issuer.")
@api_options
def command(where: Where, /, action: Sequence[str], target: str | None, **given: Any) -> None:
    """List thresholds of limits, unhealthy credentials and other warnings, newest first."""
    echo_events(where, "/api/v1/events", {"action": list(action) or None, "target": target}, **given)
