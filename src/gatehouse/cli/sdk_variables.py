"""What a client needs to go through the gateway: its URL, and the variables that SDKs and tools read.

Which variable belongs to whom: openai-py and -node `OPENAI_BASE_URL`, Aider, LlamaIndex and older tools
`OPENAI_API_BASE`, anthropic-py and -node and Claude Code `ANTHROPIC_BASE_URL`, google-genai and Gemini CLI
`GOOGLE_GEMINI_BASE_URL`, AzureOpenAI `AZURE_OPENAI_ENDPOINT`. Codex CLI reads none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gatehouse import supervisor
from gatehouse.cli.options import Setup
from gatehouse.errors import ConfigError
from gatehouse.supervisor.serving import local_url

_AZURE: Final = re.compile(r"https://([a-z0-9][a-z0-9-]{0,62})\.openai\.azure\.com/?")

_READERS: Final = (
    ("openai", "/v1", ("OPENAI_BASE_URL", "OPENAI_API_BASE")),
    ("anthropic", "", ("ANTHROPIC_BASE_URL",)),
    ("google", "", ("GOOGLE_GEMINI_BASE_URL",)),
)
"""Provider, what its SDK expects after our prefix, the variables."""


def gateway_url(setup: Setup) -> str:
    """The gateway's URL, without trailing slash: of the `serve` that runs here, else as configured.

    Raises `ConfigError` where the port is left to chance and nothing runs.
    """
    serving = supervisor.find(setup.data)
    if serving is not None:
        return serving.url
    server = setup.settings.server
    if server.public_url is not None:
        return server.public_url.rstrip("/")
    if server.port == 0:
        raise ConfigError("server.port: is 0 (any free port) and no `gatehouse serve` runs on this data directory")
    return local_url(server.host, server.port, tls=server.tls_cert is not None)


def variables(url: str, setup: Setup, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables for the providers that are enabled. Azure's only where it names a resource: ours needs it too."""
    found = {
        name: f"{url}{setup.providers[provider].prefix}{suffix}"
        for provider, suffix, names in _READERS
        if provider in setup.providers
        for name in names
    }
    azure = _AZURE.fullmatch(environ.get("AZURE_OPENAI_ENDPOINT", ""))
    if azure is not None and "azure" in setup.providers:
        found["AZURE_OPENAI_ENDPOINT"] = f"{url}{setup.providers['azure'].prefix}/{azure[1]}"
    return found


def remarks(url: str, setup: Setup) -> list[str]:
    """What variables cannot do, as lines of text."""
    lines = []
    if "openai" in setup.providers:
        lines += [
            "Codex CLI reads no variable; put this into ~/.codex/config.toml:",
            f'  openai_base_url = "{url}{setup.providers["openai"].prefix}/v1"',
        ]
    if "azure" in setup.providers:
        prefix = setup.providers["azure"].prefix
        lines.append(f"Azure OpenAI: the endpoint is {url}{prefix}/RESOURCE, for https://RESOURCE.openai.azure.com")
    return lines
