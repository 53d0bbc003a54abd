"""Vectors `legacy`: the value parsers of the build command's deprecated flags, at v0.7.0."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pybuildkit.cmd.buildctl import build
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.util import bklog
from tests.golden.areas import _workdir


def run(cases: list[dict[str, Any]], work: Path) -> Iterator[tuple[str, str | None]]:
    """Run each case in a fresh folder that holds an empty folder `dir`."""
    for case in cases:
        folder = work / "legacy"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "dir").mkdir(parents=True)
        yield case["name"], _run_case(_workdir.rewrite(case, work), folder)


def _run_case(case: dict[str, Any], folder: Path) -> str | None:
    log: list[str] = []

    def sink(level: int, message: str, fields: Mapping[str, object]) -> None:
        log.append(f"{bklog.LEVEL_NAMES[level]}: {message}")

    error: str | None = None
    result: object = None
    bklog.set_sink(sink)
    try:
        with _workdir.chdir(folder), _workdir.environment({}), _workdir.stdout_is_pipe():
            result = _call(case)
    except (BuildkitError, OSError) as err:
        error = error_text(err)
    finally:
        bklog.set_sink(None)
    got = {"error": error, "result": result, "log": log}
    want = {key: case[key] for key in got}
    return None if got == want else f"want {want!r}, got {got!r}"


def _call(case: dict[str, Any]) -> object:
    match case["fn"]:
        case "legacy_exporter":
            return [
                {
                    "attrs": dict(entry.attrs),
                    "has_output": entry.output is not None,
                    "output_dir": entry.output_dir,
                    "type": entry.type,
                }
                for entry in build.parse_legacy_exporter(case.get("exporter", ""), case["legacy_args"])
            ]
        case "export_cache":
            entries = build.parse_export_cache(case["args"], case["legacy_args"])
            return [{"Attrs": dict(entry.attrs), "Type": entry.type} for entry in entries]
        case "opt":
            return build.parse_opt(case["args"], case["legacy_args"])
    raise AssertionError(case["fn"])
