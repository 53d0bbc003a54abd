"""Questions about Dockerfiles, and what a daemon answers, in a form that two daemons can be compared by.

    python -m tests.fake_buildkitd.questions ADDR        records `questions.json` from a real daemon

The recorded answers are BuildKit v0.32.2's.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path

from pybuildkit.client import Client
from pybuildkit.client._client import new
from pybuildkit.client._solveopt import SolveOpt
from pybuildkit.frontend.gateway.client import SolveRequest
from pybuildkit.golang import context
from pybuildkit.golang.errors import BuildkitError, error_text
from pybuildkit.third_party import fsutil
from tests.fake_buildkitd.dockerfiles import Case
from tests.fake_buildkitd.twins import make_context, plain

RECORDED = Path(__file__).with_name("questions.json")
REQUESTS = ("frontend.lint", "frontend.outline", "frontend.targets", "frontend.subrequests.describe")

_ARGS = """\
ARG A=1
# two of it
ARG B=$A$A
ARG B=${B}2
ARG C=scratch UNUSED
# where all begins
FROM $C AS base
ARG B
ARG Z
# why
# Y is what it says of itself
ARG Y=$B
FROM base AS Tgt
ARG T=$Y TARGETARCH
RUN --mount=type=secret,id=s1 x
RUN --mount=type=secret,target=/a/b,required x
RUN --mount=type=secret,source=s1,required x
RUN --mount=type=ssh x
RUN --mount=type=ssh,id=q,required=true x
"""
_STAGES = """\
# base is the first
FROM scratch AS base
ARG ONE=1
LABEL one=$ONE

FROM --platform=linux/arm64 scratch AS other
# of the other
ARG TWO=$ONE
COPY --from=base / /

FROM other
ARG THREE
COPY --from=base a.txt /
"""
_WRONG = """\
from scratch as A
ENV a b
MAINTAINER x
CMD a
CMD b
WORKDIR rel
FROM scratch AS A
# check=skip=UndefinedVar
LABEL b=$NOPE
LABEL c=$NOPE
COPY a.txt \\

 /
"""
CASES = [
    Case("nothing wrong", "FROM scratch\nCOPY a.txt /\n"),
    Case("arguments", _ARGS),
    Case("arguments given", _ARGS, options={"build-arg:A": "7", "build-arg:Z": "z", "build-arg:NONE": "n"}),
    Case("arguments of a stage before", _ARGS, options={"target": "base"}),
    Case("stages", _STAGES),
    Case("a stage", _STAGES, options={"target": "base"}),
    Case("a stage that is not there", _STAGES, options={"target": "bsae"}),
    Case("wrong", _WRONG),
    Case("wrong, of one stage", _WRONG, options={"target": "0"}),
    Case("wrong, some skipped", "# check=skip=StageNameCasing,FromAsCasing\n" + _WRONG),
    Case("wrong, all skipped", _WRONG, options={"build-arg:BUILDKIT_DOCKERFILE_CHECK": "skip=all"}),
    Case("wrong is an error", "# check=error=true\nFROM scratch AS A\n"),
    Case("cannot be read", "FROM scratch\nCOPY a.txt /\nFOO\n"),
    Case("cannot be understood", "FROM scratch AS A\nWORKDIR /${x\n"),
    Case("no checks of this name", "# check=foo\nFROM scratch\n"),
    Case("escape", "# escape=x\nFROM scratch\n"),
    Case("a circle", "FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\n"),
    Case("empty", ""),
    Case("ignored", "FROM scratch\nCOPY a.txt b.txt /\n", {".dockerignore": "b.txt\n"}),
    Case("several lines", "FROM scratch\nLABEL a=$A \\\n  b=$A \\\n  c=c\nLABEL d=d\n"),
    Case("markup", 'FROM scratch\n# a<b>&"c"\nARG X="<&>"\nLABEL x=$Y<\n'),
    Case(
        "another name", "FROM scratch AS A\n", {"f/Dockerfile.x": "FROM scratch AS B\n"}, {"filename": "f/Dockerfile.x"}
    ),
    Case("agent with a source", "FROM scratch\nRUN --mount=type=ssh,source=x y\n"),
    Case("unknown attestation", "FROM scratch\n", options={"attest:foo": ""}),
]

Answer = dict[str, str]


def requests(case: Case) -> list[str]:
    """What is asked about a case: not for targets where a check is set for one instruction, which ends v0.32.2."""
    return [each for each in REQUESTS if each != "frontend.targets" or "\n# check=" not in (case.text or "")]


async def ask(client: Client, case: Case, request: str) -> Answer:
    """The answer to a question about a case's Dockerfile, or its error."""
    answer: Answer = {}

    async def question(ctx: context.Context, gateway: object) -> object:
        opts = {**case.options, "requestid": request}
        result = await gateway.solve(ctx, SolveRequest(frontend="dockerfile.v0", frontend_opt=opts))  # type: ignore[attr-defined]  # the gateway's client
        answer.update({key: value.decode() for key, value in result.metadata.items()})
        return result

    with tempfile.TemporaryDirectory() as folder:
        fs = fsutil.new_fs(str(make_context(Path(folder), case)))
        opt = SolveOpt(local_mounts={"context": fs, "dockerfile": fs})
        try:
            await client.build(context.background(), opt, "", question, None)  # type: ignore[arg-type]  # see above
        except BuildkitError as err:
            answer["error"] = plain(error_text(err))
    if "result.json" in answer:
        answer["result.json"] = _without_session(answer["result.json"])
    return answer


def _without_session(text: str) -> str:
    """JSON without what is different in every session: the definitions' bytes, and so their digests."""
    text = re.sub(r'"def": \[.*?\]', '"def": []', text, flags=re.DOTALL)
    value = json.loads(re.sub(r"sha256:[0-9a-f]{64}", "DIGEST", text), object_pairs_hook=_members)
    return json.dumps(value, ensure_ascii=False)


def _members(pairs: list[tuple[str, object]]) -> object:
    """An object's members in their order; those that are named by digests, which is all of them, in any."""
    if all(key == "DIGEST" for key, _ in pairs):
        return {"by digest": sorted((value for _, value in pairs), key=repr)}
    return dict(pairs)


async def record(addr: str) -> dict[str, dict[str, Answer]]:
    """The answers of a daemon to all questions."""
    async with await new(context.background(), addr) as client:
        return {case.name: {request: await ask(client, case, request) for request in requests(case)} for case in CASES}


def main() -> None:
    """Write the answers of the daemon that is named on the command line."""
    answers = asyncio.run(record(sys.argv[1]))
    RECORDED.write_text(json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
