"""Compiles the hot path with mypyc when a wheel is built: the same source, less than half of its own CPU time a call.

Rules: what is compiled behaves as it does interpreted, and the suite runs both ways (`make test`). Where there is no C
compiler, or Python's headers are missing, the wheel is built without, and works. An editable install is never compiled:
an extension module would hide the source that is being edited.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOT: Final = (
    "auth/access", "auth/injection", "auth/positions",
    "collector/fold",
    "dialects/answer", "dialects/anthropic_messages", "dialects/crowds", "dialects/extent", "dialects/links",
    "dialects/nesting", "dialects/openai_chat", "dialects/openai_extent", "dialects/openai_filter",
    "dialects/openai_responses", "dialects/openai_tokens", "dialects/output", "dialects/positions", "dialects/registry",
    "gateway/front", "gateway/guard",
    "http/client", "http/connection", "http/exchange", "http/fiber", "http/headers", "http/message", "http/reader",
    "http/server", "http/sse", "http/websocket",
    "journal/calls", "journal/chain", "journal/commit", "journal/lane", "journal/lines", "journal/segment",
    "journal/writer",
    "limits/bound", "limits/calendar", "limits/claim", "limits/counters", "limits/funds", "limits/ledger",
    "limits/local", "limits/reserving", "limits/shared/course", "limits/shared/desk", "limits/shared/holdings",
    "limits/shared/limits", "limits/shared/reserving", "limits/shared/standing", "limits/sliding", "limits/standing",
    "model/moment",
    "policy/none",
    "pipeline/answer", "pipeline/call", "pipeline/capturing", "pipeline/choosing", "pipeline/facts",
    "pipeline/forward", "pipeline/ids", "pipeline/limited", "pipeline/limiting", "pipeline/links", "pipeline/observe",
    "pipeline/reading", "pipeline/record", "pipeline/serve", "pipeline/trace", "pipeline/tunnel", "pipeline/way",
    "pricing/cost",
    "routing/table",
    "store/ids", "store/spans", "store/times",
    "upstream/pool",
)  # fmt: skip
"""What a call and its record pass through. Not here: structs that are decoded (msgspec cannot read the annotations of
compiled ones), and what runs once per connection or batch."""


class CompileHook(BuildHookInterface[Any]):
    """Adds the extension modules to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        missing = _missing()
        if missing:
            self.app.display_warning(f"not compiled, and slower: there is no {missing}")
            return
        built = Path(self.root, "build", "mypyc")
        shutil.rmtree(built, ignore_errors=True)
        for module in _compile(Path(self.root), built):
            build_data["force_include"][str(module)] = str(module.relative_to(built / "lib"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def _missing() -> str | None:
    """What it takes to compile and is not there."""
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    if shutil.which(compiler.split()[0]) is None:
        return f"C compiler ({compiler.split()[0]})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "Python.h (Debian: python3-dev)"
    return None


def _compile(root: Path, built: Path) -> list[Path]:
    from mypyc.build import mypycify  # noqa: PLC0415 - needed only where there is a compiler
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    class Building(build_ext):  # type: ignore[misc] # setuptools has no types
        """A source per core at a time: by itself it compiles those of an extension one after the other."""

        def build_extensions(self) -> None:
            running: list[Future[None]] = []
            compiler = self.compiler
            compile_one, link = compiler._compile, compiler.link_shared_object

            def link_all(*arguments: Any, **named: Any) -> None:
                while running:
                    running.pop().result()
                link(*arguments, **named)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                compiler._compile = lambda *source: running.append(pool.submit(compile_one, *source))
                compiler.link_shared_object = link_all
                super().build_extensions()

    sources = [str(root / "src" / "gatehouse" / f"{name}.py") for name in HOT]
    config = ["--config-file", str(root / "pyproject.toml")]
    extensions = mypycify([*config, *sources], opt_level="3", multi_file=True, target_dir=str(built / "c"))
    if os.name == "posix":
        for extension in extensions:
            # Nobody links to it: so calls within it are direct ones, and may be inlined.
            # Debugging information, which Python was built with, would double the time it takes.
            extension.extra_compile_args += ["-fvisibility=hidden", "-g0"]
    command = Building(Distribution({"ext_modules": extensions}))
    command.build_lib, command.build_temp = str(built / "lib"), str(built / "temp")
    command.ensure_finalized()
    command.run()
    return sorted((built / "lib").rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
