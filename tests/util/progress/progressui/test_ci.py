"""The logs of CI systems, read as these read them: blocks in order, and no orders but ours."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog, VertexStatus, VertexWarning
from pybuildkit.util.progress._sink import Sink
from pybuildkit.util.progress.progressui import Display
from pybuildkit.util.progress.progressui._ci import FoldedView, github_block, gitlab_block, guarded
from tests.cmd.buildctl.streams import run_in_process
from tests.util.progress.progressui.screen import SECOND, T0, Memory, log, vertex

ORDERS = st.sampled_from(
    [
        *("::set-env name=X::y", "::add-mask::x", "::endgroup::", "::stop-commands::x", "::x::", "##[set-env name=X]y"),
        *(
            "##[endgroup]",
            "\n::set-output name=a::b\n",
            "\r::error::x",
            "\x85::error::x",
            "\u2028::error::x",
            "  ::debug::x",
        ),
        *(
            "\x1b[0Ksection_end:1:a\r\x1b[0K",
            "section_start:1:b[collapsed=true]\r\x1b[0Kx",
            "section_end:1:a\r",
            "\x1b[0K",
        ),
        *("%0A::error::x", "\x1b]0;t\x07", "\r\n", "\x0b::warning::x", "%", ":", ","),
    ]
)
TEXTS = st.lists(ORDERS | st.text(max_size=5), max_size=4).map("".join)


@st.composite
def builds(draw: st.DrawFn) -> list[SolveStatus]:
    """Steps that run at once, all of whose texts try to give orders; what step N says holds <N>."""
    count = draw(st.integers(1, 4))
    names = [f"<{number}>{draw(TEXTS)}" for number in range(count)]
    statuses = [SolveStatus([Vertex(str(number), name=name, started=T0)]) for number, name in enumerate(names)]
    for _ in range(draw(st.integers(0, 6))):
        number = draw(st.integers(0, count - 1))
        said = f"<{number}>{draw(TEXTS)}"
        data = said.encode("utf-8", "replace") + draw(st.sampled_from([b"\n", b"", b"\r\n"]))
        statuses.append(SolveStatus(logs=[VertexLog(str(number), 1, data, T0)]))
        statuses.append(SolveStatus(statuses=[VertexStatus(said, str(number), started=T0, timestamp=T0)]))
        statuses.append(SolveStatus(warnings=[VertexWarning(str(number), short=said.encode("utf-8", "replace"))]))
    for number in draw(st.permutations(range(count))):
        error = draw(st.just("") | TEXTS)
        ended = Vertex(str(number), name=names[number], started=T0, completed=T0 + SECOND, error=error)
        statuses.append(SolveStatus([ended]))
    return statuses


def shown(form: str, statuses: list[SolveStatus]) -> str:
    now = [T0]
    sink = Sink(Memory())
    view = FoldedView(sink, lambda: now[0], github_block if form == "github" else gitlab_block)
    display = Display(view, lambda: now[0])
    display.start()
    for status in statuses:
        now[0] += SECOND
        display.update(status)
    display.finish()
    return sink.take().decode()


def lines_of_a_runner(text: str) -> list[str]:
    """Lines as .NET reads them."""
    return re.split(r"\r\n|\r|\n", text)[:-1]


@given(builds())
@settings(deadline=None, max_examples=60)
def test_github_takes_no_orders_from_a_build(statuses: list[SolveStatus]) -> None:
    """As the runner does: a line that starts with `::` or holds `##[` is an order, unless orders are stopped."""
    stopped = ""
    group: str | None = None
    for line in lines_of_a_runner(shown("github", statuses)):
        if stopped:
            stopped = "" if line.strip() == f"::{stopped}::" else stopped
            assert set(re.findall(r"<\d>", line)) <= {group}
            continue
        order = re.match(r"\s*::([a-z-]+)( [^:]*)?::(.*)", line)
        if order is None:
            assert "##[" not in line
            assert group is not None, f"a line outside a block: {line!r}"
            assert set(re.findall(r"<\d>", line)) <= {group}
            continue
        if order[1] == "group":
            assert group is None
            group = re.search(r"<\d>", order[3])[0]  # type: ignore[index]  # each name holds one
        elif order[1] == "endgroup":
            group = None
        elif order[1] == "stop-commands":
            stopped = order[3]
            assert re.fullmatch(r"[0-9a-f]{32}", stopped)
        else:
            assert order[1] == "error"
            assert group is None
    assert (stopped, group) == ("", None)


@given(builds())
@settings(deadline=None, max_examples=60)
def test_gitlab_takes_no_orders_from_a_build(statuses: list[SolveStatus]) -> None:
    """As the web page does: a section's mark is an order wherever it is."""
    text = shown("gitlab", statuses)
    open_section = ""
    position = 0
    for mark in re.finditer(r"section_(start|end):\d+:([\w.-]+)(\[[^\]]*\])?\r\x1b\[0K", text):
        assert re.fullmatch(r"pybuildkit_\d+_[0-9a-f]{32}", mark[2])
        if mark[1] == "start":
            assert not open_section
            open_section, position = mark[2], mark.end()
        else:
            assert mark[2] == open_section
            assert len(set(re.findall(r"<\d>", text[position : mark.start()]))) == 1
            open_section = ""
    assert not open_section
    assert text.count("\r") == text.count("\r\x1b[0K")


@pytest.mark.parametrize("form", ["github", "gitlab"])
def test_blocks_in_order_of_completion(form: str) -> None:
    order = [3, 0, 4, 1, 2]
    statuses = [vertex(f"step {number}.") for number in range(5)]
    for _ in range(3):
        statuses += [log(f"step {number}.", f"said by {number}\n".encode()) for number in range(5)]
    ends = [vertex(f"step {n}.", completed=T0 + (place + 1) * SECOND) for place, n in enumerate(order)]
    text = shown(form, [*statuses, *reversed(ends)])
    assert re.findall(r"step (\d)\. DONE", text) == [*map(str, reversed(order))], "each in its own second"
    assert re.findall(
        r"step (\d)\. DONE", shown(form, [*statuses, SolveStatus([e.vertexes[0] for e in ends[::-1]])])
    ) == [*map(str, order)], "those that come together by their times"
    assert re.sub(r"(said by (\d)\n)(.*said by \2\n)+", r"\1", text, flags=re.DOTALL).count("said") == 5


@pytest.mark.parametrize(
    ("environ", "text", "is_changed"),
    [
        ({}, "::error::x\n", False),
        ({"GITHUB_ACTIONS": "true"}, "error: a::b ## [x]\n", False),
        ({"GITHUB_ACTIONS": "true"}, "error: a\n  ::set-env name=X::y\n", True),
        ({"GITHUB_ACTIONS": "true"}, "error: a ##[add-path]x\n", True),
        ({"GITLAB_CI": "true"}, "error: ::x\n", False),
        ({"GITLAB_CI": "true"}, "error: \x1b[0Ksection_end:1:x\r\x1b[0K\n", True),
    ],
)
def test_other_texts_are_guarded(environ: dict[str, str], text: str, is_changed: bool) -> None:
    found = guarded(text, environ)
    assert (found != text) is is_changed
    if "GITHUB_ACTIONS" in environ and is_changed:
        stop, *lines, go = found.splitlines()
        assert stop.removeprefix("::stop-commands::") == go.strip(":")
        assert lines == text.splitlines()
    assert "\r" not in found


def test_the_commands_error_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    first, second, third, last = run_in_process("debug", "timeline", "-o", "x.svg", "/no\n::add-mask::x")[
        2
    ].splitlines()
    assert first.startswith("::stop-commands::")
    assert (second, third) == ("error: open /no", "::add-mask::x: no such file or directory")
    assert last == f"::{first.removeprefix('::stop-commands::')}::"
