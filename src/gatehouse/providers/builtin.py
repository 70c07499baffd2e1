"""The providers that come with Gatehouse, as data. Adding an OpenAI-compatible one is a row here, or configuration.

Rules: facts from the provider's own documentation (read November 2026) and nothing else; no code per provider.
`base_url` is what precedes the version. Quirks:

- `version`: what the provider puts before `/chat/completions`, where that is not `/v1`.
- `unversioned`: first path segments that the provider serves without its version (Anthropic: what Claude Code asks
  beside the API, `/api/hello` say).
- `ask_usage` is false where the provider refuses `stream_options` (Mistral, Cohere, Cerebras: 422), or where usage
  comes at the end of every stream anyway and asking would change nothing (OpenRouter, Perplexity, Z.ai). Azure depends
  on the caller's `api-version`, see `azure.takes_stream_options`.
- `local`: runs beside the gateway; private addresses are allowed.
- `regional_host`: where the provider's own paths name a region, that region's host.
- `auth`: what a stored credential goes into its requests as (`auth.injection`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gatehouse.model.call import Dialect
from gatehouse.model.snapshot import ProviderAuth


class Builtin(NamedTuple):
    """One row of the table."""

    name: str
    base_url: str
    dialect: Dialect = "openai"
    version: str = "/v1"
    unversioned: tuple[str, ...] = ()
    ask_usage: bool = True
    local: bool = False
    auth: ProviderAuth = "bearer"
    regional_host: str | None = None


BUILTIN: Final[tuple[Builtin, ...]] = (
    Builtin("openai", "https://api.openai.com"),
    Builtin(
        "anthropic", "https://api.anthropic.com", "anthropic", unversioned=("api", "mcp-registry"), auth="anthropic"
    ),
    Builtin("google", "https://generativelanguage.googleapis.com", "google", "/v1beta", auth="google"),
    Builtin("azure", "https://{resource}.openai.azure.com", version="", auth="azure"),
    Builtin(
        "vertex", "https://aiplatform.googleapis.com", "google", "/v1beta1", auth="google",
        regional_host="{region}-aiplatform.googleapis.com",
    ),
    Builtin("bedrock", "https://bedrock-runtime.{region}.amazonaws.com", version="/openai/v1", auth="bedrock"),
    Builtin("bedrock-mantle", "https://bedrock-mantle.{region}.api.aws", version="/openai/v1", auth="bedrock"),
    Builtin("baseten", "https://inference.baseten.co"),
    Builtin("cerebras", "https://api.cerebras.ai", ask_usage=False),
    Builtin("cohere", "https://api.cohere.ai/compatibility", ask_usage=False),
    Builtin("deepinfra", "https://api.deepinfra.com", version="/v1/openai"),
    Builtin("deepseek", "https://api.deepseek.com"),
    Builtin("fireworks", "https://api.fireworks.ai/inference"),
    Builtin("groq", "https://api.groq.com/openai"),
    Builtin("huggingface", "https://router.huggingface.co"),
    Builtin("mistral", "https://api.mistral.ai", ask_usage=False),
    Builtin("moonshot", "https://api.moonshot.ai"),
    Builtin("nvidia", "https://integrate.api.nvidia.com"),
    Builtin("openrouter", "https://openrouter.ai/api", ask_usage=False),
    Builtin(
        "perplexity", "https://api.perplexity.ai", unversioned=("async", "chat", "search"), ask_usage=False
    ),
    Builtin("sambanova", "https://api.sambanova.ai"),
    Builtin("together", "https://api.together.ai"),
    Builtin("xai", "https://api.x.ai"),
    Builtin("zai", "https://api.z.ai/api/paas", version="/v4", ask_usage=False),
    Builtin("lmstudio", "http://127.0.0.1:1234", local=True),
    Builtin("ollama", "http://127.0.0.1:11434", local=True),
    Builtin("vllm", "http://127.0.0.1:8000", local=True),
)  # fmt: skip
"""Sources, read November 2026: platform.openai.com, docs.anthropic.com, ai.google.dev/api, learn.microsoft.com (Azure
OpenAI), docs.cloud.google.com/vertex-ai (endpoints), docs.aws.amazon.com/bedrock (endpoints; openai-py 3.52
`providers.bedrock` for the surfaces of Mantle), docs.baseten.co/development/model-apis,
inference-docs.cerebras.ai, docs.cohere.com/docs/compatibility-api,
deepinfra.com/docs/advanced/openai_api, api-docs.deepseek.com, docs.fireworks.ai, console.groq.com/docs/openai,
huggingface.co/docs/inference-providers, docs.mistral.ai/api, platform.kimi.ai/docs, docs.api.nvidia.com,
openrouter.ai/docs/use-cases/usage-accounting, docs.perplexity.ai/docs/sonar/openai-compatibility, docs.sambanova.ai,
docs.together.ai/docs/inference/openai-compatibility, docs.x.ai/api, docs.z.ai, lmstudio.ai/docs, docs.ollama.com,
docs.vllm.ai. Refused `stream_options`: github.com/openai/openai-agents-python issue 442 (Mistral), janhq/jan pull 7928
(Cerebras), strandsagents.com on Cohere."""

SIMULATED: Final = "simulated"
"""Name of the provider inside the worker."""
