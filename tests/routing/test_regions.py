"""Providers whose host names a region: which paths go where, and that nothing else becomes a host (I3, D11)."""

from __future__ import annotations

import pytest

from gatehouse.config.settings import Provider, Settings
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Route
from gatehouse.providers.entries import entries
from gatehouse.routing.regions import region_of, region_origin
from gatehouse.routing.scopes import access
from gatehouse.routing.table import Router

FOUND = entries(Settings(providers={"fips": Provider(base_url="https://bedrock-runtime-fips.{region}.amazonaws.com")}))
ROUTER = Router(FOUND)
VERTEX = "/vertex/v1/projects/p/locations/{}/publishers/google/models/gemini-2.5-flash:generateContent"


def _route(path: str) -> Route:
    found = ROUTER.resolve(b"POST", path, "", []).route
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("path", "origin", "sent"),
    [
        ("/bedrock/us-west-2/v1/chat/completions", "https://bedrock-runtime.us-west-2.amazonaws.com",
         "/openai/v1/chat/completions"),
        ("/bedrock/us-west-2/openai/v1/chat/completions", "https://bedrock-runtime.us-west-2.amazonaws.com",
         "/openai/v1/chat/completions"),
        ("/bedrock/us-gov-west-1/model/a.b-v1%3A0/converse-stream", "https://bedrock-runtime.us-gov-west-1.amazonaws.com",
         "/model/a.b-v1%3A0/converse-stream"),
        ("/bedrock-mantle/eu-west-1/openai/v1/responses", "https://bedrock-mantle.eu-west-1.api.aws",
         "/openai/v1/responses"),
        ("/bedrock-mantle/eu-west-1/anthropic/v1/messages", "https://bedrock-mantle.eu-west-1.api.aws",
         "/anthropic/v1/messages"),
        ("/fips/us-east-1/v1/chat/completions", "https://bedrock-runtime-fips.us-east-1.amazonaws.com",
         "/v1/chat/completions"),
        (VERTEX.format("europe-west4"), "https://europe-west4-aiplatform.googleapis.com", None),
        (VERTEX.format("northamerica-northeast1"), "https://northamerica-northeast1-aiplatform.googleapis.com", None),
        (VERTEX.format("eu"), "https://aiplatform.eu.rep.googleapis.com", None),
        (VERTEX.format("global"), "https://aiplatform.googleapis.com", None),
        ("/vertex/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent",
         "https://aiplatform.googleapis.com", None),
    ],
)  # fmt: skip
def test_a_path_goes_to_its_region(path: str, origin: str, sent: str | None) -> None:
    route = _route(path)
    assert (str(route.origin), route.path) == (origin, sent or path.removeprefix("/vertex"))
    assert path.startswith(route.prefix)
    # A stored credential serves it, too; own providers say of themselves what they serve.
    assert access(FOUND[route.provider], route, b"POST") is not None


@pytest.mark.parametrize(
    "path",
    [
        "/bedrock/evil.example/v1/chat/completions",
        "/bedrock/us-west-2@evil/v1/chat/completions",
        "/bedrock/US-WEST-2/v1/chat/completions",
        "/bedrock/us%2Dwest-2/v1/chat/completions",
        "/bedrock/v1/chat/completions",
        "/bedrock/",
        "/bedrock",
        VERTEX.format("evil.example"),
        VERTEX.format("%65u"),
        VERTEX.format("a:1@b"),
    ],
)
def test_I3_what_is_no_region_is_no_host(path: str) -> None:
    with pytest.raises(GatehouseError) as caught:
        _route(path)
    assert caught.value.kind.status in (400, 404)


@pytest.mark.parametrize("name", ["bedrock", "bedrock-mantle", "vertex", "fips"])
def test_a_credentials_origin_is_where_calls_go(name: str) -> None:
    entry = FOUND[name]
    origin = region_origin(entry, "us-west-2")
    path = VERTEX.format("us-west-2") if name == "vertex" else f"/{name}/us-west-2/v1/chat/completions"
    assert _route(path).origin == origin and region_of(entry, str(origin)) == "us-west-2"
    for wrong in ("", "evil.example", "a/b", "us-west-2\n"):
        with pytest.raises(ValueError, match="no region"):
            region_origin(entry, wrong)
    if name != "vertex":
        with pytest.raises(ValueError, match="for one region"):
            region_origin(entry, None)
