"""The page in a headless Chromium, over its debugging pipe; skipped where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pybuildkit.client._graph import SolveStatus
from pybuildkit.util.progress.timeline import Timeline, render_html
from tests.util.progress.timeline import traces

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")
_EXEC = """
import fcntl, os, sys
pair = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 20) for fd in sys.argv[1:3]]
os.dup2(pair[0], 3)
os.dup2(pair[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the two pipes at the descriptors 3 and 4, where the browser looks for them, and becomes the browser."""


class Browser:
    """A page in a browser that is spoken to in messages of JSON, each ended by a zero byte."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        argv = [sys.executable, "-c", _EXEC, str(to_browser), str(from_browser), CHROMIUM, *_FLAGS]
        self.process = subprocess.Popen(
            [*argv, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 16)
            assert data, "the browser went away"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """The result of a method of the debugging protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Load a page in a new tab and wait for it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def value(self, expression: str) -> Any:
        """What an expression gives in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression holds in the page; looked at whenever the page is drawn."""
        poll = f"new Promise(done => (function look() {{ ({expression}) ? done() : requestAnimationFrame(look) }})())"
        result = self.call("Runtime.evaluate", expression=poll, awaitPromise=True)
        assert "exceptionDetails" not in result, result

    def click(self, selector: str) -> None:
        """Click in the middle of an element."""
        self.until(f"document.querySelector({json.dumps(selector)})")
        rect = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=rect[0], y=rect[1], button="left", clickCount=1)

    def drag(self, selector: str, first: float, last: float) -> None:
        """Press the mouse in an element, move it to the right and let go; places are parts of its width."""
        left, width, y = self.value(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [r.x, r.width, r.y + r.height / 2]; })()"
        )
        for kind, part in (("mousePressed", first), ("mouseMoved", last), ("mouseReleased", last)):
            x = left + width * part
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        codes = {"Enter": 13, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "Escape": 27, "End": 35}
        codes |= {"/": 191, "z": 90, "0": 48}
        common: dict[str, object] = {"key": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def errors(self) -> list[dict[str, Any]]:
        """What the console and the log complained of."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            is_error = event["method"] == "Runtime.exceptionThrown"
            is_error |= event["method"] == "Runtime.consoleAPICalled" and params.get("type") == "error"
            is_error |= event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning")
            if is_error:
                found.append(event)
        return found

    def close(self) -> None:
        """End the browser."""
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    started = Browser(tmp_path / "profile")
    yield started
    started.close()


def opened(browser: Browser, tmp_path: Path, timeline: Timeline) -> None:
    page = tmp_path / "report.html"
    page.write_text(render_html(timeline), encoding="utf-8")
    browser.open(page.as_uri())


def step_selector(name: str) -> str:
    timeline = Timeline(traces.build())
    return f"#step-{timeline.steps[f'sha256:{name}'].number}"


def test_a_click_shows_the_log(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    make = step_selector("[base 2/2] RUN make")
    log = f"document.querySelector('{make} pre.log')"
    assert not browser.value(f"{log}.checkVisibility()")
    browser.click(f"{make} summary")
    assert browser.value(f"{log}.checkVisibility()")
    assert browser.value(f"{log}.textContent") == "compiling <b>red\n"
    assert browser.errors() == []


def test_search_and_filters(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    shown = "[...document.querySelectorAll('details.step:not([hidden])')].length"
    assert browser.value(shown) == 8
    browser.press("/", "/")
    assert browser.value("document.activeElement.id") == "search"
    browser.call("Input.insertText", text="COMPILING")
    assert browser.value(shown) == 1
    assert browser.value("document.getElementById('count').textContent") == "1 of 8"
    browser.press("Escape")
    assert browser.value(shown) == 8
    browser.click("#only-failed")
    assert browser.value(shown) == 1
    assert browser.errors() == []


def test_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    focused = "[...document.querySelectorAll('main summary')].indexOf(document.activeElement)"
    at_group = "document.activeElement.parentElement.classList.contains('group')"
    browser.value("document.querySelector('details.step summary').focus()")
    assert browser.value(focused) == 1
    browser.press("Enter", "\r")
    assert browser.value("document.activeElement.parentElement.open")
    browser.press("ArrowDown")
    assert browser.value(focused) == 2
    browser.press("ArrowUp")
    browser.press("ArrowLeft")
    assert not browser.value("document.activeElement.parentElement.open")
    browser.press("ArrowLeft")
    assert browser.value(at_group)
    browser.press("ArrowLeft")
    browser.press("ArrowDown")
    assert browser.value(at_group), "the steps of a folded group are passed over"
    browser.press("End")
    browser.press("Tab")
    assert browser.value("document.activeElement.tagName") != "SUMMARY"
    assert browser.errors() == []


def test_zoom(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    bar = f"document.querySelector('{step_selector('[base 2/2] RUN make')} .bar').getBoundingClientRect()"
    lane = "document.querySelector('details.step .bars').getBoundingClientRect()"
    ticks = "[...document.querySelectorAll('#axis .tick')].map((tick) => tick.textContent)"
    everything, whole = browser.value(f"{bar}.width"), browser.value(ticks)
    assert whole == ["0s", "1s", "2s", "3s", "4s", "5s", "6s", "7s"]
    browser.value(f"document.querySelector('{step_selector('[base 2/2] RUN make')} summary').focus()")
    browser.press("z", "z")
    assert browser.value(f"{bar}.width / {lane}.width") == pytest.approx(1 / 1.2, abs=0.01)
    assert browser.value(ticks)[0] == "3s"
    assert not browser.value("document.getElementById('reset').hidden")
    browser.press("0", "0")
    assert browser.value(f"{bar}.width") == pytest.approx(everything)
    browser.drag("#strip", 0.45, 0.75)
    assert browser.value(ticks)[0] == "3.5s"
    browser.click("#reset")
    assert browser.value(ticks) == whole
    assert browser.errors() == []


def test_the_axis_stays_in_sight(browser: Browser, tmp_path: Path) -> None:
    steps = [traces.step(f"[all {number}/200] RUN x", number, number + 1) for number in range(200)]
    opened(browser, tmp_path, Timeline([SolveStatus(steps)]))
    browser.value("scrollTo(0, 3000)")
    assert browser.value("scrollY") == 3000
    assert browser.value("document.getElementById('axis').getBoundingClientRect().top") < 200
    tick, line = (
        browser.value(f"document.querySelectorAll('{selector}')[2].getBoundingClientRect().left")
        for selector in ("#axis .tick", "#lines i")
    )
    assert tick == pytest.approx(line, abs=0.6)


def test_a_link_opens_its_step(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    failed = step_selector("exporting to image")
    browser.click("#only-critical")
    browser.click("#fold")
    browser.until(f"!document.querySelector('{failed} summary').checkVisibility()")
    browser.click(".failure a")
    browser.until(f"document.querySelector('{failed} .error').checkVisibility()")


def test_on_paper(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert not browser.value("document.querySelector('form').checkVisibility()")
    assert browser.value("document.querySelector('details.step summary').checkVisibility()")


def test_dark_mode(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, Timeline(traces.build()))
    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.value(background)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert (light, browser.value(background)) == ("rgb(255, 255, 255)", "rgb(13, 17, 23)")


def test_a_hostile_trace_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    attacks = [
        "</script><script>window.pwned=1</script>",
        "<!--<script>window.pwned=1//",
        '"><img src=x onerror="window.pwned=1">',
        "' onclick='window.pwned=1' x='",
        "</pre></details><svg onload=window.pwned=1>",
        "]]><iframe srcdoc='<script>parent.pwned=1</script>'>",
        "\u2028window.pwned=1\u2029</style><style>@import 'http://127.0.0.1:9/x'</style>",
        "</title><base href=http://127.0.0.1:9/><link rel=stylesheet href=x>",
    ]
    statuses = [*traces.hostile(), *traces.of_texts(attacks, 'https://x/"onmouseover="window.pwned=1')]
    opened(browser, tmp_path, Timeline(statuses))
    browser.value("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    browser.click("details.step summary")
    browser.value("document.querySelectorAll('*').forEach((each) => each.dispatchEvent(new Event('click')))")
    assert browser.value("typeof window.pwned") == "undefined"
    assert browser.value("document.querySelectorAll('script').length") == 1
    assert browser.value("performance.getEntriesByType('resource').length") == 0
    assert browser.errors() == []
