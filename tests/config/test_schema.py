"""The walk over the settings structs sees everything `msgspec` does."""

from __future__ import annotations

from typing import Any

import msgspec

from gatehouse.config import schema
from gatehouse.config.settings import Settings


def leaves(kind: Any, path: str) -> set[str]:
    match kind:
        case msgspec.inspect.StructType():
            return {
                leaf
                for field in kind.fields
                for leaf in leaves(field.type, f"{path}.{field.name}" if path else field.name)
            }
        case msgspec.inspect.Metadata():
            return leaves(kind.type, path)
        case msgspec.inspect.DictType():
            return leaves(kind.value_type, f"{path}.<name>")
        case msgspec.inspect.VarTupleType(item_type=msgspec.inspect.StructType()):
            return leaves(kind.item_type, f"{path}[]")
        case _:
            return {path}


def test_walk_finds_every_key() -> None:
    found = {schema.dotted(path) for path, field in schema.walk(Settings) if field.section is None}
    assert found == leaves(msgspec.inspect.type_info(Settings), "")


def test_units_and_ranges_are_words() -> None:
    fields = {schema.dotted(path): field for path, field in schema.walk(Settings)}
    assert fields["timeouts.idle"].unit == fields["routes[].idle"].unit == "seconds"
    assert fields["limits.body_memory"].unit == fields["journal.max_bytes"].unit == "bytes"
    assert fields["prices.models[].cache_read"].unit == "US dollars"
    assert fields["server.port"].allowed == "a whole number from 0 to 65535"
    assert fields["timeouts.idle"].allowed == "a number above 0 and up to 86400"
    assert fields["journal.keep_days"].allowed == "a whole number, 1 or more"
    assert fields["providers.<name>.dialect"].choices == ("anthropic", "google", "openai")
