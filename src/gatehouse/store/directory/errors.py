"""Why a change of the directory was refused: the caller's fault, each, and nothing was changed."""

from __future__ import annotations


class DirectoryError(Exception):
    """`str(error)` says what is wrong, in one sentence for whoever asked. It names ids and names of the same tenant."""


class NotThere(DirectoryError):
    """What was named does not exist, or not for this tenant."""


class Taken(DirectoryError):
    """A name, an address or an id that must be unique is in use already."""


class Replaced(DirectoryError):
    """What the change went by is there no more: somebody was faster."""


class InUse(DirectoryError):
    """It cannot go while something else needs it."""
