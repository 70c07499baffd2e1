"""How a request's body is treated, decided on the head alone: read whole, streamed through, or not expected.

Whole: only what the gateway must read because it meters it, which is JSON of a size somebody typed. Everything else
flows: an upload of a gigabyte never stands in memory. A form is read too where the model it names matters.
"""

from __future__ import annotations

from typing import Final, Literal

from gatehouse.model.call import Route

BodyPlan = Literal["none", "whole", "stream"]

_BODILESS: Final = frozenset((b"GET", b"HEAD", b"OPTIONS"))
_METERED: Final = frozenset(
    "chat completions embeddings responses moderations messages count_tokens generate_content stream_generate_content "
    "embed_content cached_contents image_generation image_edit speech".split()
)
_FORMS: Final = frozenset(("image_edit",))
"""Those among them that take forms. Elsewhere a body is read whatever it is called: so may providers do."""
_UPLOADS: Final = frozenset(("files", "batches"))
_NAMING: Final = frozenset(("transcription", "translation", "image_edit", "image_variation", "videos"))
"""Endpoints whose forms name a model."""
_FORM: Final = b"multipart/form-data"
_OPAQUE: Final = (b"multipart/", b"audio/", b"video/", b"image/", b"application/octet-stream", b"application/pdf")
"""Content types that are no JSON."""


def body_plan(route: Route, method: bytes, content_type: bytes | None) -> BodyPlan:
    """What to do with the body. `none`: no body is expected; one that comes anyway is streamed.

    `content_type`: the header's value as received, `None` without one.
    """
    if method in _BODILESS:
        return "none"
    if route.endpoint in _METERED and not (route.endpoint in _FORMS and _is_opaque(content_type)):
        return "whole"
    return "stream"


def is_upload(route: Route, method: bytes, content_type: bytes | None) -> bool:
    """Whether `limits.upload_bytes` holds for the body instead of `limits.body_bytes`: files, batches, media."""
    return method not in _BODILESS and (route.endpoint in _UPLOADS or _is_opaque(content_type))


def names_model(route: Route, method: bytes, content_type: bytes | None) -> bool:
    """Whether the body is a form with a field `model`."""
    return (
        method not in _BODILESS
        and route.endpoint in _NAMING
        and content_type is not None
        and content_type.lstrip().lower().startswith(_FORM)
    )


def _is_opaque(content_type: bytes | None) -> bool:
    return content_type is not None and content_type.lstrip().lower().startswith(_OPAQUE)
