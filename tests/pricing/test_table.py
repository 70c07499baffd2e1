"""The packaged table, own prices, versions, and what loading them costs."""

from __future__ import annotations

import decimal
import re
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import msgspec
import pytest
import yaml

from gatehouse.config.settings import ModelPrice, Prices
from gatehouse.model.prices import Rates
from gatehouse.model.snapshot import PriceTable
from gatehouse.model.usage import Usage
from gatehouse.pricing.cost import Pricing
from gatehouse.pricing.table import table

DOCS = Path(__file__).parents[2] / "docs" / "prices.md"


def _rates(price: ModelPrice) -> Rates:
    (found,) = table(Prices(models=(price,))).own[price.provider]
    rates = found.periods[0].rates
    assert rates is not None
    return rates


def test_own_prices_are_exact() -> None:
    """O14. Dollars per million tokens as decimal strings; a binary float never touches them."""
    rates = _rates(
        ModelPrice(provider="vllm", model="m", input="0.1", output="999999999.999999999", per_request="0.000000001")
    )
    assert rates == Rates(input=100_000_000, output=999_999_999_999_999_999, per_request=1)


def test_own_prices_keep_their_gaps() -> None:
    rates = _rates(ModelPrice(provider="vllm", model="m", input="1", cache_read="0", reasoning="2.50"))
    assert rates == Rates(input=10**9, cache_read=0, output=0, reasoning=2_500_000_000)


def test_an_amount_is_never_rounded() -> None:
    with pytest.raises(decimal.Inexact):
        table(Prices(models=(ModelPrice(provider="vllm", model="m", input="0.0000000001"),)))


@pytest.mark.parametrize("amount", [2.5, 2, "-1", "1e3", "0.0000000001", "1234567890", "", "1.", "NaN"])
def test_settings_refuse_what_is_not_an_exact_amount(amount: object) -> None:
    given = {"models": [{"provider": "vllm", "model": "m", "input": amount}]}
    with pytest.raises(msgspec.ValidationError, match=r"models\[0\]\.input"):
        msgspec.convert(given, Prices)


def test_the_version_changes_with_every_price() -> None:
    """The same version, the same prices: source, its digest, and the digest of the own ones."""
    plain = table(Prices())
    one = table(Prices(models=(ModelPrice(provider="vllm", model="m", input="1"),)))
    other = table(Prices(models=(ModelPrice(provider="vllm", model="m", input="2"),)))
    assert re.fullmatch(r"\d+\.\d+\.\d+-[0-9a-f]{12}", plain.version)
    assert re.fullmatch(re.escape(plain.version) + r"-[0-9a-f]{12}", one.version)
    assert len({plain.version, one.version, other.version}) == 3
    assert table(Prices(models=(ModelPrice(provider="vllm", model="m", input="1"),))) == one
    assert Pricing(one).version == one.version


def test_a_table_survives_the_snapshots_encoding() -> None:
    whole = table(Prices(models=(ModelPrice(provider="vllm", model="m*", input="999999999", per_request="999999999"),)))
    assert msgspec.json.decode(msgspec.json.encode(whole), type=PriceTable) == whole
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=PriceTable) == whole


def test_loading_is_quick_and_small() -> None:
    """Asked for 20 ms; measured 2 to 4 ms and 1.4 MB."""
    best = min(_seconds() for _ in range(10))
    assert best <= 0.020
    tracemalloc.start()
    try:
        whole = table(Prices())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert whole.listed
    assert held < 3_000_000


def _seconds() -> float:
    start = time.perf_counter()
    table(Prices())
    return time.perf_counter() - start


def test_a_worker_never_imports_genai_prices() -> None:
    """105 MB in every worker otherwise."""
    program = (
        "import sys, gatehouse.pricing\n"
        "from gatehouse.pricing.cost import Pricing\n"
        "from gatehouse.pricing.table import table\n"
        "from gatehouse.config.settings import Prices\n"
        "from gatehouse.model.usage import Usage\n"
        "assert Pricing(table(Prices())).cost('openai', 'gpt-4o', Usage(input=1)) is not None\n"
        "assert not [name for name in sys.modules if name.startswith(('genai_prices', 'pydantic'))]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_only_the_compiler_imports_genai_prices() -> None:
    source = DOCS.parents[1] / "src" / "gatehouse"
    importing = re.compile(r"^\s*(?:import|from) genai_prices\b", re.MULTILINE)
    found = [path.relative_to(source).as_posix() for path in source.rglob("*.py") if importing.search(path.read_text())]
    assert found == ["pricing/compile.py"]


def test_the_example_in_the_docs() -> None:
    """What the documentation shows is valid, and costs what it says."""
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    prices = Pricing(table(msgspec.convert(yaml.safe_load(example)["prices"], Prices)))
    million = Usage(input=1_000_000, output=1_000_000)
    assert prices.cost("vllm", "my-org/llama-3.3-70b-ft", million) == (700_000_000, "own:vllm/my-org/llama-3.3-70b*")
    assert prices.cost("openai", "gpt-4o", million) == (10_000_000_000, "own:openai/gpt-4o")
    assert prices.cost("ollama", "anything", million) == (0, "own:ollama/*")
    assert prices.cost("search-box", "answers-1", million) == (3_005_000_000, "own:search-box/answers-1")
