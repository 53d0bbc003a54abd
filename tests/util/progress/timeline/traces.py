"""Traces to make reports of."""

from __future__ import annotations

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.solver.pb.ops_pb2 import Position, ProgressGroup, Range, SourceInfo

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND

HOSTILE = '</script><script>window.pwned=1</script><img src=x onerror="window.pwned=1">\'"&\x1b]0;t\x07\ud800'


def step(name: str, first: float, last: float | None, *inputs: str, error: str = "", cached: bool = False) -> Vertex:
    """A step that ran from `first` to `last`, in seconds from the start."""
    return Vertex(
        digest=f"sha256:{name}",
        inputs=[f"sha256:{each}" for each in inputs],
        name=name,
        started=T0 + int(first * SECOND),
        completed=None if last is None else T0 + int(last * SECOND),
        error=error,
        cached=cached,
    )


def build() -> list[SolveStatus]:
    """A build with stages, a cached and a failed step, output, bytes, a warning and a group."""
    hidden = Vertex(digest="sha256:never ran", inputs=["sha256:[base 1/2] FROM busybox"], name="never ran")
    pull = step("pull layer", 0, 0.5)
    pull.progress_group = ProgressGroup(id="g", name="pulls")
    warning = VertexWarning(
        vertex="sha256:[internal] load build definition",
        short=b"Be careful",
        detail=[b"because"],
        url="https://example.com/rule",
        source_info=SourceInfo(filename="Dockerfile", data=b"FROM busybox\nRUN make\nCMD x\n"),
        range=[Range(start=Position(line=2), end=Position(line=2))],
    )
    return [
        SolveStatus([pull, step("[internal] load build definition", 0, 1), hidden]),
        SolveStatus(warnings=[warning]),
        SolveStatus([step("[base 1/2] FROM busybox", 1, 3, "[internal] load build definition")]),
        SolveStatus([step("[base 2/2] RUN make", 3, 6, "never ran")]),
        SolveStatus([step("[docs 1/1] RUN doc", 1, 2, "[internal] load build definition", cached=True)]),
        SolveStatus(logs=[VertexLog("sha256:[base 2/2] RUN make", 1, b"compiling <b>\x1b[31mred\x1b[0m\n", T0)]),
        SolveStatus(
            statuses=[VertexStatus("layer", "sha256:pull layer", total=2_000_000, current=1_500_000, timestamp=T0)]
        ),
        SolveStatus([step("exporting to image", 6, 7, error="exit code: 2")]),
        SolveStatus([step("backwards", 5, 4)]),
        SolveStatus([step("still runs", 6.5, None)]),
    ]


def hostile() -> list[SolveStatus]:
    """A trace all of whose texts try to be something else."""
    vertex = Vertex(digest=HOSTILE, inputs=[HOSTILE], name=HOSTILE, started=T0, completed=T0 + SECOND, error=HOSTILE)
    vertex.progress_group = ProgressGroup(id="x", name=HOSTILE.replace("\ud800", ""))
    data = HOSTILE.encode("utf-8", "replace")
    info = SourceInfo(filename=HOSTILE.replace("\ud800", ""), data=data)
    return [
        SolveStatus(
            [vertex],
            [VertexStatus(HOSTILE, HOSTILE, timestamp=T0, current=-5, total=1)],
            [VertexLog(HOSTILE, 1, data, T0)],
            [
                VertexWarning(
                    HOSTILE,
                    short=data,
                    detail=[data],
                    url="javascript:window.pwned=1",
                    source_info=info,
                    range=[Range(start=Position(line=-9), end=Position(line=2_000_000_000))],
                ),
                VertexWarning(HOSTILE, short=data, url='https://x/" onclick="window.pwned=1'),
            ],
        )
    ]


def of_texts(texts: list[str], url: str) -> list[SolveStatus]:
    """A trace with a text in each place that can have one, a text a place."""
    digest, name, error, group, output, part, short, detail = texts
    made = Vertex(digest=digest, inputs=[digest], name=name, started=T0, completed=T0 + SECOND, error=error)
    made.progress_group = ProgressGroup(id="x", name=group.encode("utf-8", "replace").decode())
    info = SourceInfo(filename=detail.encode("utf-8", "replace").decode(), data=b"FROM x\n")
    warning = VertexWarning(digest, short=short.encode("utf-8", "replace"), url=url)
    warning.detail = [detail.encode("utf-8", "replace")]
    warning.source_info = info
    warning.range = [Range(start=Position(line=1), end=Position(line=1))]
    return [
        SolveStatus(
            [made],
            [VertexStatus(part, digest, timestamp=T0)],
            [VertexLog(digest, 1, b"x" + output.encode("utf-8", "replace"), T0)],
            [warning],
        )
    ]
