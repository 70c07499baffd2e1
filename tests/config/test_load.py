"""The configuration is read whole or refused with every problem, its place and what is allowed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gatehouse.config.load import Effective, Flag, find, resolve
from gatehouse.config.settings import Provider, Settings
from gatehouse.errors import ConfigError
from tests.config.loading import load


def write(folder: Path, text: str) -> Path:
    path = folder / "gatehouse.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), environ or {})
    return str(caught.value).replace(f"{folder}/", "").splitlines()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~\n", "server:\nproviders:\nroutes:\n"])
def test_nothing_said_means_the_defaults(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text), {}) == load(None, {}) == Settings()


def test_every_shape_of_key_is_read(tmp_path: Path) -> None:
    settings = load(
        write(
            tmp_path,
            """
server: {port: 9000, grace_seconds: 5, allowed_hosts: [gw.example, 10.0.0.1]}
routes:
  - match: /openai/v1/responses*
    idle: 1800
providers:
  my-vllm:
    base_url: http://10.0.0.5:8000
  groq:
prices:
  models:
    - {provider: my-vllm, model: 4*, input: 2.50, output: "10"}
""",
        ),
        {},
    )
    assert settings.server.port == 9000
    assert settings.server.grace_seconds == 5.0
    assert settings.server.allowed_hosts == ("gw.example", "10.0.0.1")
    assert settings.routes[0].idle == 1800
    assert settings.providers == {"my-vllm": Provider(base_url="http://10.0.0.5:8000"), "groq": Provider()}
    assert (settings.prices.models[0].input, settings.prices.models[0].output) == ("2.50", "10")
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


def test_money_is_what_was_written_not_the_nearest_float(tmp_path: Path) -> None:
    text = "prices: {models: [{provider: a, model: b, input: 0.100000001, output: 1.10}]}"
    price = load(write(tmp_path, text), {}).prices.models[0]
    assert (price.input, price.output) == ("0.100000001", "1.10")


def test_all_problems_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = """server:
  prot: 1
  port: 70000
  insecure: yes
journal: 5
providers:
  groq: {dialect: opnai, base_url: [x]}
  openai: {base_url: https://api.openai.com/v1}
routes:
  - idle: 0
prices:
  models: {}
port: 3
auth: {enabled: 1}
"""
    assert problems(tmp_path, text, {"GATEHOUSE_SERVER__WORKERS": "0"}) == [
        "gatehouse.yaml:2: server.prot: is no known key; did you mean `port`?",
        "gatehouse.yaml:3: server.port: is `70000`; must be a whole number from 0 to 65535",
        "gatehouse.yaml:4: server.insecure: is `yes`; must be true or false",
        "GATEHOUSE_SERVER__WORKERS: server.workers: is `0`; must be a whole number from 1 to 256",
        "gatehouse.yaml:5: journal: is the number 5; must be a mapping of keys",
        "gatehouse.yaml:7: providers.groq.dialect: is `opnai`; must be one of anthropic, google, openai, or null; "
        "did you mean openai?",
        "gatehouse.yaml:7: providers.groq.base_url: is a list; must be text, or null",
        "gatehouse.yaml:10: routes[0].idle: is `0`; must be a number above 0 and up to 86400, or null",
        "gatehouse.yaml:10: routes[0]: needs `match`: text",
        "gatehouse.yaml:12: prices.models: is a mapping; must be a list of mappings",
        "gatehouse.yaml:13: port: is no known key; did you mean server.port?",
        "gatehouse.yaml:14: auth.enabled: is `1`; must be true or false",
        "gatehouse.yaml:8: providers.openai.base_url: must not end in `/v1`: give what precedes it; the version comes "
        "with the caller's path",
    ]


def test_a_section_with_a_problem_is_not_judged_as_a_whole(tmp_path: Path) -> None:
    """`body_memory` stands at its default while it cannot be read; comparing with it would mislead."""
    text = "limits: {body_memory: lots, body_bytes: 9000000000}"
    assert problems(tmp_path, text) == [
        "gatehouse.yaml:1: limits.body_memory: is `lots`; must be a whole number, 1 or more"
    ]


def test_a_number_in_quotes_is_told_from_a_number(tmp_path: Path) -> None:
    assert problems(tmp_path, 'server: {port: "8080"}') == [
        "gatehouse.yaml:1: server.port: is the quoted text `8080`; must be a whole number from 0 to 65535"
    ]


def test_values_of_text_keys_are_never_repeated(tmp_path: Path) -> None:
    text = """
database: {url: "postgresql://u:hunter2@h/db"}
server: {public_url: "https://u:hunter2@h", tls_key: [hunter2]}
providers: {a: {base_url: "https://hunter2@h/v1?x=hunter2"}}
prices: {models: [{provider: a, model: b, input: hunter2}]}
"""
    assert "hunter2" not in "\n".join(problems(tmp_path, text))


def test_unreadable_files(tmp_path: Path) -> None:
    assert problems(tmp_path, "server: [")[0].startswith("gatehouse.yaml:1: ")
    assert problems(tmp_path, "- a\n") == ["gatehouse.yaml:1: must be a mapping of sections, such as `server:`"]
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "nowhere.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    path = tmp_path / "gatehouse.yaml"
    path.write_bytes(b"server:\n  host: \xff\n")
    with pytest.raises(ConfigError, match=r"gatehouse\.yaml:2: is not UTF-8"):
        load(path, {})
    path.write_bytes(b"#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="is larger than 1048576 bytes"):
        load(path, {})


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "gatehouse.yaml"
    path.write_bytes(b"\xef\xbb\xbfserver: {port: 1}\n")
    assert load(path, {}).server.port == 1


def test_flags_win_over_the_environment_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "server:\n  port: 1\n  workers: 2\n  host: 127.0.0.2\n")
    environ = {"GATEHOUSE_SERVER__PORT": "3", "GATEHOUSE_SERVER__WORKERS": "4"}
    effective: Effective = resolve(path, environ, [Flag("--port", ("server", "port"), 5)])
    server = effective.settings.server
    assert (server.port, server.workers, server.host) == (5, 4, "127.0.0.2")
    assert effective.origins["server.port"] == "--port"
    assert effective.origins["server.workers"] == "GATEHOUSE_SERVER__WORKERS"
    assert effective.origins["server.host"] == f"{path}:4"
    assert "server.insecure" not in effective.origins


def test_a_wrong_flag_names_the_flag() -> None:
    with pytest.raises(
        ConfigError, match=r"^--port: server\.port: is `70000`; must be a whole number from 0 to 65535$"
    ):
        resolve(None, {}, [Flag("--port", ("server", "port"), 70000)])


def test_which_file_is_read(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert find(None, {}, [first, second]) is None
    inner = write(second, "")
    assert find(None, {}, [first, second]) == inner
    assert find(None, {"GATEHOUSE_CONFIG": "/x.yaml"}, [first, second]) == Path("/x.yaml")
    assert find(Path("y.yaml"), {"GATEHOUSE_CONFIG": "/x.yaml"}, [second]) == Path("y.yaml")
    assert find(None, {"GATEHOUSE_CONFIG": ""}, [second]) == inner


def test_compliance_sets_what_nothing_else_sets(tmp_path: Path) -> None:
    journal = load(write(tmp_path, "profile: compliance\njournal: {max_bytes: 100000000}"), {}).journal
    assert (journal.durability, journal.when_full, journal.keep_days) == ("disk", "refuse", 183)
    assert load(None, {"GATEHOUSE_PROFILE": "compliance"}).journal.durability == "disk"
    assert problems(tmp_path, "profile: compliance\njournal:\n  durability: process\n  keep_days: 30\n") == [
        "gatehouse.yaml:3: journal.durability: must be disk under profile: compliance",
        "gatehouse.yaml:4: journal.keep_days: must be at least 183 under profile: compliance",
    ]


def test_accounts_of_the_data_directory_turn_auth_on_unless_something_else_is_said(tmp_path: Path) -> None:
    file = tmp_path / "gatehouse.yaml"
    file.write_text("server: {port: 9090}\n")
    assert resolve(file, {}, (), accounts=True).settings.auth.enabled
    assert not resolve(file, {}, ()).settings.auth.enabled
    file.write_text("auth: {enabled: false}\n")
    assert not resolve(file, {}, (), accounts=True).settings.auth.enabled
