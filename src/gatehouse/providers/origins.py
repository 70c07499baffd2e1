"""The one origin that a credential of a provider is stored for (I3, T4).

Pure. A provider whose host names a resource has one origin per resource; every other has one. Scheme, host and port
come from the provider's entry, never from whoever stores the credential.
"""

from __future__ import annotations

import re
from typing import Final

from gatehouse.model.call import Origin
from gatehouse.model.snapshot import ProviderEntry

_RESOURCE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def credential_origin(entry: ProviderEntry, resource: str | None) -> Origin:
    """Where a credential for `resource` (Azure; else `None`) may go. Raises `ValueError`: a sentence."""
    if entry.host_template is None:
        if resource is not None:
            raise ValueError(f"provider {entry.name} has no resources")
        return entry.origin
    if resource is None:
        raise ValueError(f"a credential of provider {entry.name} is for one resource; name it")
    if not _RESOURCE.fullmatch(resource):
        raise ValueError("a resource name is made of a-z, 0-9 and `-`, at most 63 of them")
    return Origin(entry.origin.scheme, entry.host_template.replace("{resource}", resource), entry.origin.port)
