"""The report of a trace: its model, the page and the picture."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.util.progress.timeline import Timeline, render_html, render_svg
from pybuildkit.util.progress.timeline._model import MAX_LOG_BYTES, group_of
from pybuildkit.util.progress.timeline._scale import Scale, duration_text
from tests.util.progress.timeline import traces
from tests.util.progress.timeline.traces import SECOND, T0, step


class Page(HTMLParser):
    """The elements of a page, and whether they are closed in order."""

    VOID = ("meta", "input", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.elements if tag == name]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("[build 2/5] RUN make", "build"),
        ("[linux/arm64->amd64 build 2/5] RUN make", "linux/arm64->amd64 build"),
        ("[linux/amd64 base 1/2] FROM x", "linux/amd64 base"),
        ("[2/5] RUN make", "build"),
        ("[internal] load build context", "internal"),
        ("[auth] library/busybox:pull token", "auth"),
        ("exporting to image", "export"),
        ("importing cache manifest from x", "import"),
        ("docker-image://x", "other"),
        ("", "other"),
    ],
)
def test_group_of(name: str, group: str) -> None:
    assert group_of(name) == group


def test_critical_path_goes_over_steps_that_never_ran_and_over_gaps() -> None:
    timeline = Timeline(traces.build()[:-1])
    assert [each.name for each in timeline.critical_path()] == [
        "[internal] load build definition",
        "[base 1/2] FROM busybox",
        "[base 2/2] RUN make",
        "exporting to image",
    ]
    groups = timeline.groups()
    assert list(groups) == ["pulls", "internal", "base", "docs", "other", "export"]
    assert [each.is_critical for each in groups["base"]] == [True, True]
    assert not groups["docs"][0].is_critical


def test_inputs_in_a_circle_end() -> None:
    timeline = Timeline([SolveStatus([step("a", 0, 1, "b"), step("b", 0, 1, "a")])])
    assert {each.name for each in timeline.critical_path()} <= {"a", "b"}


def test_durations_never_go_backwards() -> None:
    timeline = Timeline([SolveStatus([step("a", 5, 4), step("b", 6, None)])])
    assert timeline.steps["sha256:a"].duration(timeline.end) == 0
    assert timeline.steps["sha256:b"].duration(timeline.end) == 0
    assert timeline.end > timeline.start


def test_the_end_of_a_long_log_is_kept() -> None:
    timeline = Timeline([SolveStatus([step("a", 0, 1)])])
    for number in range(40):
        timeline.add(SolveStatus(logs=[VertexLog("sha256:a", 1, b"%02d" % number + b"x" * 50_000, T0)]))
    kept = timeline.steps["sha256:a"]
    assert kept.is_log_cut
    assert kept.log_bytes <= MAX_LOG_BYTES
    assert kept.logs[-1].startswith(b"39")


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0s"),
        (850_000, "850µs"),
        (12_000_000, "12ms"),
        (1_250_000_000, "1.25s"),
        (2 * SECOND, "2s"),
        (185 * SECOND, "3m05s"),
        (3661 * SECOND, "1h01m01s"),
    ],
)
def test_duration_text(nanos: int, text: str) -> None:
    assert duration_text(nanos) == text


@given(st.integers(1, 10**17), st.integers(0, 10**18))
def test_a_scale_has_few_marks_within_it(length: int, start: int) -> None:
    ticks = list(Scale(start, start + length).ticks())
    assert 1 <= len(ticks) <= 11
    assert all(0 <= percent <= 100 for percent, _ in ticks)


def test_page_shows_everything() -> None:
    text = render_html(Timeline(traces.build()), "A build")
    page = Page(text)
    assert page.open == []
    details = {str(attrs["id"]): str(attrs["class"]).split() for attrs in page.tags("details")}
    assert len(details) == 8
    states = sorted(state for _, state, *_ in details.values())
    assert states == ["cached", "done", "done", "done", "done", "done", "failed", "running"]
    for wanted in ("compiling &lt;b&gt;red", "1.50MB / 2.00MB", "exit code: 2", "Be careful", "<mark>RUN make</mark>"):
        assert wanted in text
    assert text.index("pulls") < text.index("[docs 1/1]")


@pytest.mark.parametrize("trace", [traces.build, traces.hostile, list], ids=["build", "hostile", "empty"])
def test_page_loads_nothing_and_runs_one_script(trace: type[list[SolveStatus]]) -> None:
    page = Page(render_html(Timeline(trace()), traces.HOSTILE))
    assert page.open == []
    assert len(page.tags("script")) == 1
    for tag, attrs in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base", "link")
        assert not any(name.startswith("on") or name in ("src", "srcdoc") for name in attrs)
        if "href" in attrs:
            assert str(attrs["href"]).startswith(("#step-", "https://", "http://"))
    policy = next(attrs["content"] for attrs in page.tags("meta") if attrs.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")


@pytest.mark.parametrize("trace", [traces.build, traces.hostile, list], ids=["build", "hostile", "empty"])
def test_picture_is_a_document_without_scripts(trace: type[list[SolveStatus]]) -> None:
    root = ElementTree.fromstring(render_svg(Timeline(trace())))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= {"svg", "style", "rect", "line", "text", "g", "title"}
    assert not any(name.startswith("on") or "href" in name for element in root.iter() for name in element.attrib)


MOMENTS = st.none() | st.integers(-(10**20), 10**20)


@given(
    st.lists(
        st.builds(
            Vertex,
            digest=st.sampled_from("abc"),
            inputs=st.lists(st.sampled_from("abcd"), max_size=3),
            name=st.text(max_size=20),
            started=MOMENTS,
            completed=MOMENTS,
            cached=st.booleans(),
            error=st.text(max_size=5),
        ),
        max_size=6,
    )
)
def test_any_trace_makes_a_report(vertexes: list[Vertex]) -> None:
    timeline = Timeline([SolveStatus(vertexes)])
    assert Page(render_html(timeline)).open == []
    ElementTree.fromstring(render_svg(timeline))
