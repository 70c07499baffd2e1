"""What the elements of a conversation look like to msgspec: only what tells whose they are. Types only, as in the other
`*_shapes`."""

from __future__ import annotations

from typing import Final

import msgspec

Elements = list[msgspec.Raw] | dict[str, msgspec.Raw] | str | int | float | bool | None
"""A member that should be a conversation: its elements unread, in the same pass as the rest of the body; or anything
else, which harms nothing."""


_NOTHING: Final = msgspec.Raw(b"null")


class Element(msgspec.Struct, gc=False):
    """An element of `messages`, `input` or `contents`, in any dialect. Its members are unread: they may be anything."""

    role: msgspec.Raw = _NOTHING
    type: msgspec.Raw = _NOTHING
    tool_call_id: msgspec.Raw = _NOTHING
    call_id: msgspec.Raw = _NOTHING
