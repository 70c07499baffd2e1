"""`docs/configuration.md` is fresh and complete: every key with type, default, unit, meaning and variable."""

from __future__ import annotations

from pathlib import Path

from gatehouse.config import document, environment, schema
from gatehouse.config.settings import Settings
from tests.config.loading import load

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == document.render(), "run: python -m gatehouse.config.document > docs/configuration.md"


def test_every_key_is_described_and_named() -> None:
    page = PAGE.read_text()
    for path, field in schema.walk(Settings):
        name = environment.variable(path)
        if field.section is not None:
            assert field.section.__doc__
            assert field.section.__doc__.splitlines()[0] in page
            continue
        assert field.description, path
        assert f"| `{field.name}` | {field.allowed} | {field.unit} |" in page, path
        assert name is None or f"`{name}`" in page, path


def test_the_example_is_valid(tmp_path: Path) -> None:
    example = PAGE.read_text().partition("```yaml\n")[2].partition("```")[0]
    path = tmp_path / "gatehouse.yaml"
    path.write_text(example)
    assert set(load(path, {}).providers) == {"openai", "my-vllm"}
