"""Questions about a Dockerfile instead of a build: its targets, a target's outline, its checks, and what can be asked.

Mirrors frontend/dockerui/requests.go and frontend/subrequests, v0.32.2, without convertllb.
"""

from __future__ import annotations

from fake_buildkitd.frontend._bridge import FrontendResult
from fake_buildkitd.frontend.dockerfile._instructions import parse_instructions
from fake_buildkitd.frontend.dockerfile._linter import Linter
from fake_buildkitd.frontend.dockerfile._lintresult import LintResult
from fake_buildkitd.frontend.dockerfile._outline import location_json, outline_of, table
from fake_buildkitd.frontend.dockerfile._parser import parse
from fake_buildkitd.frontend.dockerfile._state import StageState
from pybuildkit.golang import json
from pybuildkit.solver.errdefs import UnsupportedSubrequestError, errdefs_pb2

VERSION = "1.0.0"
DESCRIBE = "frontend.subrequests.describe"
TARGETS = "frontend.targets"
OUTLINE = "frontend.outline"
LINT = "frontend.lint"
_TARGET_OPTION = {"name": "target", "description": "Target build stage"}


def handle_subrequest(request: str, data: bytes, text: str) -> FrontendResult:
    """The answer to a question that needs no conversion.

    Raises:
        UnsupportedSubrequestError: nobody here answers it.
    """
    if request == DESCRIBE:
        return _describe()
    if request == TARGETS:
        return _targets(data, text)
    raise UnsupportedSubrequestError(None, errdefs_pb2.Subrequest(name=request))


def answer(value: object, text: str) -> FrontendResult:
    """An answer for programs and for people."""
    return FrontendResult(
        metadata={
            "result.json": json.marshal_indent(value, "", "  ").encode("utf-8", "surrogateescape"),
            "result.txt": text.encode("utf-8", "surrogateescape"),
            "version": VERSION.encode(),
        }
    )


def lint_answer(result: LintResult) -> FrontendResult:
    """The answer to LINT, with the status that a command ends with for it."""
    given = answer(result.to_json(), result.to_text())
    given.metadata["result.statuscode"] = result.status().encode()
    return given


def outline_answer(target: StageState, data: bytes) -> FrontendResult:
    """The answer to OUTLINE."""
    return answer(*outline_of(target, data))


def _describe() -> FrontendResult:
    named = [{"name": name, "description": ""} for name in ("result.json", "result.txt")]
    requests: list[dict[str, object]] = [
        {
            "name": name,
            "version": VERSION,
            "type": "rpc",
            "description": description,
            "opts": opts,
            "inputs": None,
            "metadata": named,
            "refs": None,
        }
        for name, description, opts in (
            (OUTLINE, "List all parameters current build target supports", [_TARGET_OPTION]),
            (TARGETS, "List all targets current build supports", []),
            (DESCRIBE, "List available subrequest types", None),
        )
    ]
    rows = [["NAME", "VERSION", "DESCRIPTION"]]
    rows += [
        [str(request["name"]).removeprefix("frontend."), VERSION, str(request["description"])] for request in requests
    ]
    return answer(requests, table(rows, 1))


def _targets(data: bytes, text: str) -> FrontendResult:
    stages, _ = parse_instructions(parse(text), Linter())
    targets: list[dict[str, object]] = []
    rows = [["TARGET", "DESCRIPTION"]]
    for number, stage in enumerate(stages):
        default = number == len(stages) - 1
        fields: dict[str, object] = {
            "name": stage.name,
            "default": default,
            "description": stage.doc_comment,
            "base": stage.base_name,
            "platform": stage.platform,
        }
        target = {key: value for key, value in fields.items() if value}
        target |= location_json(stage.location)
        targets.append(target)
        name = f"{stage.name} (default)" if stage.name and default else stage.name or ("(default)" if default else "")
        rows.append([name, stage.doc_comment])
    return answer({"targets": targets or None, "sources": [data]}, table(rows, 1))
