"""Questions about a Dockerfile instead of a build: the list of its targets, and which questions there are.

Mirrors frontend/dockerui/requests.go and frontend/subrequests, v0.32.2, without outline, lint and convertllb.
"""

from __future__ import annotations

from fake_buildkitd.frontend._bridge import FrontendResult
from fake_buildkitd.frontend.dockerfile._instructions import parse_instructions
from fake_buildkitd.frontend.dockerfile._linter import Linter
from fake_buildkitd.frontend.dockerfile._location import Range
from fake_buildkitd.frontend.dockerfile._parser import parse
from pybuildkit.golang import json
from pybuildkit.solver.errdefs import UnsupportedSubrequestError, errdefs_pb2

VERSION = "1.0.0"
DESCRIBE = "frontend.subrequests.describe"
TARGETS = "frontend.targets"


def handle_subrequest(request: str, data: bytes, text: str) -> FrontendResult:
    """The answer to a question.

    Raises:
        UnsupportedSubrequestError: nobody here answers it.
    """
    if request == DESCRIBE:
        return _describe()
    if request == TARGETS:
        return _targets(data, text)
    raise UnsupportedSubrequestError(None, errdefs_pb2.Subrequest(name=request))


def _answer(value: object, rows: list[list[str]]) -> FrontendResult:
    widths = [max(len(row[column]) for row in rows) + 1 for column in range(len(rows[0]) - 1)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] for row in rows]
    return FrontendResult(
        metadata={
            "result.json": json.marshal_indent(value, "", "  ").encode("utf-8", "surrogateescape"),
            "result.txt": "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"),
            "version": VERSION.encode(),
        }
    )


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
            (TARGETS, "List all targets current build supports", []),
            (DESCRIBE, "List available subrequest types", None),
        )
    ]
    rows = [["NAME", "VERSION", "DESCRIPTION"]]
    rows += [
        [str(request["name"]).removeprefix("frontend."), VERSION, str(request["description"])] for request in requests
    ]
    return _answer(requests, rows)


def _targets(data: bytes, text: str) -> FrontendResult:
    from base64 import b64encode

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
        target["location"] = {"ranges": [_range(line) for line in stage.location]}
        targets.append(target)
        name = f"{stage.name} (default)" if stage.name and default else stage.name or ("(default)" if default else "")
        rows.append([name, stage.doc_comment])
    return _answer({"targets": targets or None, "sources": [b64encode(data).decode()]}, rows)


def _range(line: Range) -> dict[str, object]:
    return {"start": {"line": line.start}, "end": {"line": line.end}}
