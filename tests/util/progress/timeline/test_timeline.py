"""The report of a trace: its model, the page and the picture."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.util.progress.timeline import Timeline, render_html, render_svg
from pybuildkit.util.progress.timeline._ansi import render_log
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


@st.composite
def graphs(draw: st.DrawFn) -> list[Vertex]:
    """A build: each step needs some of those before it, starts when they have ended or later, or never runs."""
    steps: list[Vertex] = []
    ends: list[float] = []
    for number in range(draw(st.integers(1, 12))):
        needed = draw(st.sets(st.sampled_from(range(number)), max_size=3)) if number else set()
        begin = max((ends[each] for each in needed), default=0.0) + draw(st.integers(0, 1))
        length = draw(st.integers(0, 3)) + 2**number / 1e6  # so that no two ends are the same
        ran = draw(st.booleans()) or number == 0
        ends.append(begin + length if ran else begin)
        made = step(str(number), begin, begin + length, *(str(each) for each in sorted(needed)))
        steps.append(made if ran else Vertex(made.digest, made.inputs, made.name))
    return draw(st.permutations(steps))


def longest_wait(steps: list[Vertex]) -> list[str]:
    """The critical path, by a search over all pairs: who was waited for is a relation, the path its closure."""
    by_digest = {each.digest: each for each in steps}

    def ran_inputs(each: Vertex) -> set[str]:
        found: set[str] = set()
        for digest in each.inputs:
            needed = by_digest[digest]
            found |= {digest} if needed.started is not None else ran_inputs(needed)
        return found

    ran = sorted((each for each in steps if each.started is not None), key=lambda each: each.completed or 0)
    waited_for: dict[str, str | None] = {}
    for each in ran:
        earlier = [other.digest for other in ran if (other.completed or 0) <= (each.started or 0) and other is not each]
        wanted = ran_inputs(each)
        chosen = [digest for digest in earlier if digest in wanted] if wanted else earlier
        waited_for[each.digest] = chosen[-1] if chosen else None
    path: list[str] = []
    at: str | None = ran[-1].digest
    while at is not None:
        path.insert(0, at)
        at = waited_for[at]
    return path


@given(graphs())
@settings(deadline=None)
def test_critical_path_against_a_model(steps: list[Vertex]) -> None:
    timeline = Timeline([SolveStatus([each]) for each in steps])
    assert [each.digest for each in timeline.critical_path()] == longest_wait(steps)


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
    classes = [str(attrs["class"]).split() for attrs in page.tags("details")]
    states = sorted(names[1] for names in classes if names[0] == "step")
    assert len(states) == 8
    assert states == ["cached", "done", "done", "done", "done", "done", "failed", "running"]
    assert 'compiling &lt;b&gt;<span class="c1">red</span>\n' in text
    for wanted in (
        "1.50MB / 2.00MB",
        "exit code: 2",
        "Be careful",
        '<mark><span class="number">2</span>RUN make</mark>',
    ):
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
            assert str(attrs["href"]).startswith(("#step-", "#warnings", "https://", "http://"))
    policy = next(attrs["content"] for attrs in page.tags("meta") if attrs.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")


SVG_ELEMENTS = {"svg", "style", "rect", "line", "text", "g", "title"}


@pytest.mark.parametrize("trace", [traces.build, traces.hostile, list], ids=["build", "hostile", "empty"])
def test_picture_is_a_document_without_scripts(trace: type[list[SolveStatus]]) -> None:
    root = ElementTree.fromstring(render_svg(Timeline(trace())))
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names <= SVG_ELEMENTS
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


MARKUP = [
    *("</script>", "<script>", "</style>", "</title>", "</details>", "<img src=x onerror=alert(1)>", " onclick=x "),
    *("<!--", "-->", "]]>", "<", ">", "&", "&lt;", "&#60;", '"', "'", "`", "=", "javascript:alert(1)"),
    *("\u2028", "\u2029", "\u202e", "\x00", "\x1b[31m", "\x1b[38;5;", "\ud800", "\ufffe", "\r", "\n", "[a 1/2] "),
]
TEXTS = st.lists(st.sampled_from(MARKUP) | st.characters(), max_size=12).map("".join)
URLS = st.sampled_from(["javascript:x", "data:text/html,x", "https://x/", "http://", " https://x"])


@given(st.lists(TEXTS, min_size=8, max_size=8), URLS)
@settings(deadline=None)
def test_no_text_becomes_markup(texts: list[str], scheme: str) -> None:
    """The page of a trace with hostile texts has the elements and attributes of one with harmless texts."""

    def shape(texts: list[str], url: str) -> list[tuple[str, list[str]]]:
        page = Page(render_html(Timeline(traces.of_texts(texts, url)), texts[0]))
        assert page.open == []
        assert len(page.tags("script")) == 1
        for attrs in page.tags("a"):
            assert re.match(r"#step-\d+\Z|#warnings\Z|https?://", str(attrs["href"]))
        return [(tag, sorted(attrs)) for tag, attrs in page.elements if tag != "span"]

    url = scheme + texts[7]
    harmless = "https://x" if url.startswith(("https://", "http://")) else "x"
    assert shape(["x" + text for text in texts], url) == shape(["x"] * len(texts), harmless)
    root = ElementTree.fromstring(render_svg(Timeline(traces.of_texts(texts, scheme)), texts[0]))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} <= SVG_ELEMENTS


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain <b>", "plain &lt;b&gt;"),
        ("\x1b[1;31mred\x1b[0m.", '<span class="s1 c1">red</span>.'),
        ("\x1b[92mlight\x1b[39mno", '<span class="c2">light</span>no'),
        ("\x1b[3;4mboth\x1b[23mone\x1b[24mnone", '<span class="s3 s4">both</span><span class="s4">one</span>none'),
        ("\x1b[38;5;9mred\x1b[38;5;200mother", '<span class="c1">red</span>other'),
        ("\x1b[31;48;2;1;2;3mred\x1b[mno", '<span class="c1">red</span>no'),
        ("\x1b[31m\x1b[1;22;2mred", '<span class="s2 c1">red</span>'),
        ("\x1b[38mx\x1b[38;5mx\x1b[99999;7mx", "xxx"),
    ],
)
def test_colours_of_output(text: str, html: str) -> None:
    assert render_log(text) == html


def test_most_at_once() -> None:
    steps = [step("a", 0, 4), step("b", 1, 3), step("c", 2, 3), step("d", 3, 4)]
    assert "at most 3 at once" in render_html(Timeline([SolveStatus(steps)]))
