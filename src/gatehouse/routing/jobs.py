"""Which stored object of a provider a path is about: a batch, a file, an upload, a fine-tuning, a video. Pure text.

Rules: the id as it stands in the path, percent-encoding untouched; only of the families below, whose ids say what a
call belongs to. What a creation's answer is named is the dialects' business.
Sources: paths in the openai, anthropic and google-genai SDKs.
"""

from __future__ import annotations

import re
from typing import Final

from gatehouse.model.call import Route

LONGEST: Final = 200
"""Characters of an id on record."""

_FAMILIES: Final = frozenset(
    "batches files uploads videos fine_tuning operations tunedModels batchPredictionJobs tuningJobs".split()
)
_MARKS: Final = tuple(f"/{family}/" for family in sorted(_FAMILIES))
_VERSION: Final = re.compile(r"v\d+(?:(?:alpha|beta)\d*)?")


def job_of(route: Route) -> str | None:
    """The provider's id of the object that the path names, as its answers call it; `None` if it names none.

    `/v1/batches/batch_1/cancel` → `batch_1`; Google names objects by their path: `/v1beta/batches/b1:cancel` →
    `batches/b1`, `/v1beta/models/veo-3/operations/o1` → `models/veo-3/operations/o1`.
    """
    path = route.path
    if not any([mark in path for mark in _MARKS]):
        return None
    parts = path.strip("/").split("/")
    last = max(at for at, part in enumerate(parts) if part in _FAMILIES)
    family = parts[last]
    at = last + 2 if family == "fine_tuning" else last + 1  # `fine_tuning/jobs/{id}`
    if at >= len(parts):
        return None
    name = parts[at].partition(":")[0] if route.dialect == "google" else parts[at]
    if not name:
        return None
    if route.dialect == "google":
        before = parts[:at]
        start = next((number + 1 for number, part in enumerate(before) if _VERSION.fullmatch(part)), last)
        name = "/".join([*before[start:], name])
    return name[:LONGEST]
