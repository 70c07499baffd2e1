"""What is special about Azure OpenAI: which versions of its API know `stream_options`.

Azure refuses arguments that the `api-version` a caller names does not have. `stream_options` came with
`2024-09-01-preview` and the stable `2024-10-21` (azure-rest-api-specs, data-plane/AzureOpenAI/inference; reports in
griptape-ai/griptape issue 1640 and openai/openai-python issue 1469), for chat completions only: the legacy completions
of `2024-10-21` have none. The `/openai/v1` surface always has it.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from gatehouse.model.call import Route

_SINCE: Final = "2024-09-01"


def takes_stream_options(route: Route, query: str) -> bool:
    """Whether an Azure call may be asked for usage in its stream. `query` as received, without `?`."""
    if "/openai/v1/" in route.path:
        return True
    if route.endpoint == "completions":
        return False
    versions = [value for name, value in parse_qsl(query) if name == "api-version"]
    return len(versions) == 1 and versions[0][:10] >= _SINCE and versions[0][:2] == "20"
