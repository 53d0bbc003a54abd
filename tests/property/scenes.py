"""Random behaviour of a daemon and of what is around the build command, and which error the command must report.

A scene is played by `Daemon`'s script, which notes when it does what, so that the rule "the first error wins" can be
checked against the times of the run. No two causes happen at the same time: each kind has a fraction of a second of
its own, in powers of two, so that all sums are exact and differ.

    what ends a build                       when the command knows it        what it says
    a call refused: ListWorkers             at once                          listing workers for Build: …
                    Ping, Solve, Return     when Solve has ended, 5 s later  … (of LLBBridge)
                    Solve, a failed solve   at once                          failed to solve: …
                    Status                  at once                          failed to receive status: …
                    Session, or its end     when Solve has ended, 1 s later  session closed by the daemon …
    a signal                                at once                          failed to solve: Canceled: …
    a connection that ends or babbles       at once                          … Unavailable …
    one that says nothing                   15 s after its last word         … keepalive ping failed …
    nobody reads standard error             when something is written        (nowhere to say it)
    an export that never came, or broke     at the end                       … no whole tar export · failed to export …

What the daemon still tells after the build's end, and for how long it keeps its end of the session open, is drawn
too, and so are a standard error and a trace that take their time for every write.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hypothesis import strategies as st

from fake_buildkitd.faults import FaultKind
from fake_buildkitd.script import Call, Delay, EndStatus, Fail, Hang, Script, Send, Step
from pybuildkit.client._graph import SolveStatus, Vertex, VertexLog
from pybuildkit.golang import context
from pybuildkit.golang.context import Context
from pybuildkit.rpc import Code
from pybuildkit.session import Caller
from pybuildkit.session.filesync._synctarget import copy_file_writer
from pybuildkit.util.grpcerrors import StatusError
from tests import virtual_clock
from tests.property.command import Action, Run, Seen

BEGIN = 1_700_000_000_000_000_000
TAR = b"tar" * 1000
FULL = "no space left on device"
WRITE_SECONDS = 0.5
"""How long a slow write takes."""
GIVE_UP_SECONDS = 0.7
CLOSE_SECONDS = 2.0
LAST_SIGNAL = 40.0
GATEWAY_SECONDS = 5.0
GATEWAY_WAIT_SECONDS = 3.0
PING_SECONDS = 15.0
SETTLE_SECONDS = 1.0
SILENCE_SECONDS = 15.0
STATUS_SECONDS = 5.0
STATUS_WAIT_SECONDS = 6.0
_NEVER = float("inf")

LIST, SOLVE, STATUS, SESSION = "ListWorkers", "Solve", "Status", "Session"
PING, BRIDGE, RETURN = "LLBBridge.Ping", "LLBBridge.Solve", "LLBBridge.Return"

# What happens at a call: nothing, an answer that never comes, or a refusal.
HANG = "hang"
_CODES = (Code.INTERNAL, Code.UNAVAILABLE, Code.CANCELLED, Code.UNKNOWN, Code.PERMISSION_DENIED)

# Longest delay of a call in seconds: a daemon gives the gateway's calls 3 s and Status 6 s to see their Solve.
_CALLS = {LIST: 4, SOLVE: 2, STATUS: 3, SESSION: 3, PING: 3, BRIDGE: 3, RETURN: 3}
_FRACTIONS = {name: 2.0 ** -(6 + number) for number, name in enumerate(_CALLS)}
_EXPORTS = ("export", "half export", "blind export")
_FRACTIONS |= {"status": 0.0, "end status": 0.0, "fail status": 2.0**-3, "end session": 2.0**-4}
_FRACTIONS |= dict.fromkeys(_EXPORTS, 0.0)
_END_FRACTION = 2.0**-5
_LATE_FRACTION = 2.0**-13


@dataclass(frozen=True)
class Act:
    """A step of the build, after some seconds: "status", "end status", "fail status", "end session", "export", "half
    export" (which the daemon breaks off) or "blind export" (which it takes for good whatever became of it).
    """

    kind: str
    seconds: int


@dataclass(frozen=True)
class Trouble:
    """What a call meets: a delay, and then `HANG`, a refusal or nothing."""

    seconds: int
    outcome: Code | str | None


@dataclass(frozen=True)
class Scene:
    """What a daemon does and what happens around the command.

    Args:
        acts: the steps of the build.
        end: how the build ends: "answer", "fail" or "hang".
        end_after: seconds from the last step.
        calls: what calls meet.
        signal, loss, deaf: a signal, the end of the connection, and nobody who reads standard error, with the whole
            seconds after which each happens.
        progress: how progress is shown.
        trace: where the trace goes: "pipe", "file", "full" (a full disk) or "none".
        response: what the build answers.
        output: where the command is to put an export: "file", "full" (a full disk) or "none".
        late: seconds before each status that is told after the build's end.
        late_end: what comes after these: "end", "fail" or "hang".
        session_seconds: how long the daemon keeps its end of the session open.
        write_seconds: how long a write to standard error and one to the trace take.
    """

    acts: tuple[Act, ...]
    end: str
    end_after: int
    calls: Mapping[str, Trouble]
    signal: tuple[signal.Signals, int] | None
    loss: tuple[FaultKind, int] | None
    deaf: int | None
    progress: str
    trace: str
    response: Mapping[str, str]
    output: str
    late: tuple[int, ...]
    late_end: str
    session_seconds: float
    write_seconds: tuple[float, float]

    def actions(self) -> list[tuple[float, Action]]:
        """What happens around the command; a scene without an end of its own ends with a signal."""
        actions: list[tuple[float, Action]] = []
        number, when = (self.signal[0], self.signal[1] + 0.5) if self.signal else (signal.SIGTERM, LAST_SIGNAL)
        actions.append((when, lambda run: run.signal(number)))
        if self.loss is not None:
            kind, seconds = self.loss
            actions.append((seconds + 0.25, lambda run: run.break_off(kind)))
        if self.deaf is not None:
            actions.append((self.deaf + 0.75, Run.stop_reading))
        return actions


def _scenes() -> st.SearchStrategy[Scene]:
    seconds = st.integers(0, 3)
    statuses = st.builds(Act, st.just("status"), st.sampled_from([0, 0, 0, 1, 3]))
    once = st.sampled_from(["end status", "fail status", "end session", *_EXPORTS, "export", "export"])
    acts = st.tuples(st.lists(statuses, max_size=5), st.lists(st.builds(Act, once, seconds), max_size=2)).flatmap(
        lambda both: st.permutations(both[0] + list({act.kind.split()[-1]: act for act in both[1]}.values())).map(tuple)
    )
    outcomes = st.one_of(st.none(), st.just(HANG), st.sampled_from(_CODES))
    names = st.one_of(st.sampled_from(list(_CALLS)), st.just(STATUS))
    trouble = names.flatmap(
        lambda name: st.tuples(st.just(name), st.builds(Trouble, st.integers(0, _CALLS[name]), outcomes))
    )
    calls = st.lists(trouble, max_size=2).map(dict)
    times = st.integers(0, 12)
    signals = st.tuples(st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]), times)
    losses = st.tuples(st.sampled_from([FaultKind.EOF, FaultKind.SILENCE, FaultKind.GARBAGE]), times)
    nothing = st.just((None, None, None))
    around = st.one_of(
        *[nothing] * 4,
        *[st.tuples(signals, st.none(), st.none())] * 2,
        *[st.tuples(st.none(), losses, st.none())] * 2,
        st.tuples(st.none(), st.none(), times),
        st.tuples(st.none() | signals, st.none() | losses, st.none() | times),
    )
    write_seconds = st.sampled_from([0.0, 0.0, WRITE_SECONDS])
    return st.builds(
        _scene,
        around,
        acts=acts,
        end=st.sampled_from(["answer", "answer", "fail", "hang"]),
        end_after=seconds,
        calls=calls,
        progress=st.sampled_from(["plain", "plain", "rawjson", "quiet", "github"]),
        trace=st.sampled_from(["pipe", "pipe", "pipe", "pipe", "file", "full", "none"]),
        response=st.sampled_from([{}, {"key": "value"}]),
        output=st.sampled_from(["none", "none", "file", "full"]),
        late=st.lists(st.integers(0, 3), max_size=3).map(tuple),
        late_end=st.sampled_from(["end", "end", "fail", "hang"]),
        session_seconds=st.sampled_from([0.0, 0.0, 1.5, 9.0]),
        write_seconds=st.tuples(write_seconds, write_seconds),
    )


Around = tuple[tuple[signal.Signals, int] | None, tuple[FaultKind, int] | None, int | None]


def _scene(around: Around, **fields: Any) -> Scene:
    """A scene; an export is to go to a file where the daemon would have nowhere to put it."""
    if fields["output"] == "none" and any(act.kind in _EXPORTS for act in fields["acts"]):
        fields["output"] = "file"
    return Scene(signal=around[0], loss=around[1], deaf=around[2], **fields)


scenes = _scenes()
PLAIN = Scene(
    acts=(),
    end="answer",
    end_after=1,
    calls={},
    signal=None,
    loss=None,
    deaf=None,
    progress="plain",
    trace="pipe",
    response={},
    output="none",
    late=(),
    late_end="end",
    session_seconds=0.0,
    write_seconds=(0.0, 0.0),
)
"""A scene in which nothing happens."""


def status(number: int) -> SolveStatus:
    """The status of a step that no other one tells of: its start and a line of its log."""
    digest = f"sha256:{number:064x}"
    vertex = Vertex(digest, name=f"step {number}.", started=BEGIN)
    return SolveStatus(vertexes=[vertex], logs=[VertexLog(digest, 1, b"line %d.\n" % number, BEGIN + number)])


@dataclass
class Journal:
    """What the daemon did, and when. Each thing is noted once."""

    times: dict[str, float] = field(default_factory=dict)
    statuses: list[tuple[int, float]] = field(default_factory=list)
    failure: str = ""

    def sent(self, number: int, is_told: bool) -> None:
        """A status is sent now; it need not arrive where statuses have been ended before."""
        self.statuses.append((number, self.now() if is_told else _NEVER))

    def must_have_arrived(self, end: float) -> list[int]:
        """The statuses that were sent before then to a Status call that was served."""
        served = self.times.get(STATUS, _NEVER)
        return [number for number, when in self.statuses if max(when, served) < end]

    def now(self) -> float:
        """The time."""
        return asyncio.get_running_loop().time() - virtual_clock.START

    def note(self, what: str) -> None:
        """Something happens now."""
        now = self.now()
        assert self.times.setdefault(what, now) == now, f"{what} happens twice"


class Player:
    """The daemon's part in a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.journal = Journal()
        self._number = 0

    def script(self) -> Script:
        """The script; its steps are noted when they are taken."""
        return Script(
            _Steps(self._steps),
            response=self.scene.response,
            before=self._before,
            late=_Steps(self._late),
            session_seconds=self.scene.session_seconds,
        )

    async def _before(self, method: str, ctx: Context) -> None:
        trouble = self.scene.calls.get(method)
        if trouble is not None:
            await context.run(ctx, asyncio.sleep(trouble.seconds + _FRACTIONS[method]))
            if trouble.outcome == HANG:
                await ctx.done()
                ctx.raise_if_done()
            elif isinstance(trouble.outcome, Code):
                if method in _CALLS:
                    self.journal.note(f"{method} refused")
                raise StatusError(trouble.outcome, f"no {method}")
        if method in _CALLS:
            self.journal.note(method)

    def _late(self) -> Iterator[Step]:
        """What is told after the build's end."""
        for seconds in self.scene.late:
            yield Delay(seconds + _LATE_FRACTION)
            yield self._status(True)
        if self.scene.late_end == "fail":
            yield Delay(_LATE_FRACTION)
            self.journal.note("late failure")
            self.journal.note("told")
            yield EndStatus(StatusError(Code.INTERNAL, "no more statuses"))
        elif self.scene.late_end == "hang":
            yield Hang()
        self.journal.note("told")

    def _status(self, is_told: bool) -> Send:
        self._number += 1
        self.journal.sent(self._number, is_told)
        return Send(status(self._number))

    def _steps(self) -> Iterator[Step]:
        note, scene = self.journal.note, self.scene
        has_statuses = True
        for act in scene.acts:
            yield Delay(act.seconds + _FRACTIONS[act.kind])
            match act.kind:
                case "status":
                    yield self._status(has_statuses)
                case "end status":
                    if has_statuses:
                        note("told")
                    has_statuses = False
                    yield EndStatus()
                case "fail status":
                    if has_statuses:
                        note("status failed")
                        note("told")
                    has_statuses = False
                    yield EndStatus(StatusError(Code.INTERNAL, "no more statuses"))
                case "end session":
                    yield Call(self._end_session)
                case kind:
                    yield Call(partial(self._export, kind))
        yield Delay(scene.end_after + _END_FRACTION)
        if scene.end == "answer":
            while RETURN not in self.journal.times:
                yield Delay(1)
            note("answered")
        elif scene.end == "fail":
            note("failed")
            self.journal.failure = "Internal: it broke"
            yield Fail(StatusError(Code.INTERNAL, "it broke"))
        else:
            yield Hang()

    async def _end_session(self, ctx: Context, caller: Caller) -> None:
        self.journal.note("session ended")
        await caller.conn().close()

    async def _export(self, kind: str, ctx: Context, caller: Caller) -> None:
        try:
            writer = await copy_file_writer(ctx, {}, 0, caller)
            for part in (TAR[:1000], TAR[1000:]):
                await writer.write_all(part)
                await context.run(ctx, asyncio.sleep(1))
                self.journal.times.setdefault("half sent", self.journal.now())
            if kind == "half export":
                writer.abort()
                return
            await writer.close()
        except Exception:
            if kind == "blind export":
                return
            self.journal.note("failed")
            self.journal.failure = ".*"
            raise
        self.journal.note("exported")


class _Steps(list[Step]):
    """Steps that are made when they are taken."""

    def __init__(self, make: object) -> None:
        super().__init__()
        self._make = make

    def __iter__(self) -> Iterator[Step]:
        assert callable(self._make)
        steps: Iterator[Step] = self._make()
        return steps


@dataclass
class Verdict:
    """What must come of a scene: when the first error is known and its text (a pattern), or None for success.

    Where several errors come at the same time, any of them is the first. Before `earliest` the command must not end,
    since it may be told more.
    """

    when: float | None
    texts: list[str]
    earliest: float = 0.0

    def fits(self, text: str) -> bool:
        """Whether that is the error."""
        return any(re.fullmatch(pattern, text, re.DOTALL) for pattern in self.texts)


def judge(scene: Scene, journal: Journal, seen: Seen) -> Verdict:
    """What must have come of a scene that went as noted."""
    times = dict(journal.times)
    if seen.lost is not None:
        times = {what: when for what, when in times.items() if when <= seen.lost}
    facts = _Causes(scene, times, journal.failure, seen)
    causes = [cause for cause in facts.all() if cause[0] <= facts.over and cause[0] < _NEVER]
    if seen.signalled is not None and facts.over < seen.signalled <= facts.session_over:
        causes.append((seen.signalled, "context canceled"))
    if not causes:
        return _judge_exports(scene, times, facts.over)
    first = min(when for when, _ in causes)
    if first == seen.signalled and first > facts.answered:
        exports = _judge_exports(scene, times, first)
        if exports.when is not None:
            return replace(exports, when=first)  # an export that did not come is missed by then
    texts = [text for when, text in causes if when == first]
    if scene.output == "full" and first >= times.get("half sent", _NEVER) and seen.signalled is None:
        texts = [f"failed to solve: .*{FULL}"]  # what broke on the client's side tells more
    return Verdict(first, texts, facts.earliest(first))


def _judge_exports(scene: Scene, times: Mapping[str, float], over: float) -> Verdict:
    """What must have come of a scene in which nothing else went wrong, and which was over then."""
    if scene.output == "none" or "exported" in times or "answered" not in times:
        return Verdict(None, [], over)
    return Verdict(
        times["answered"], ["daemon reported success but sent no whole tar export", f"failed to .*{FULL}"], over
    )


Cause = tuple[float, str]


class _Causes:
    """What can end a scene: when the command must know of it, and a pattern of what it must say then."""

    def __init__(self, scene: Scene, times: Mapping[str, float], failure: str, seen: Seen) -> None:
        self.scene = scene
        self.times = times
        self.failure = failure
        self.seen = seen
        self.listed = times.get(LIST, _NEVER)
        self.answered = times.get("answered", _NEVER)
        self.solved = min(self.answered, seen.signalled if seen.signalled is not None else _NEVER)
        self.lost = seen.lost if seen.lost is not None else _NEVER
        self.over = max(self.answered, min(self._told(), self.answered + STATUS_SECONDS))
        self.session_over = self.answered + self._session_wait()

    def _told(self) -> float:
        """When the Status call has ended."""
        refused = self.times.get(f"{STATUS} refused", _NEVER)
        if SOLVE not in self.times:
            refused = min(refused, self.times.get(STATUS, _NEVER) + STATUS_WAIT_SECONDS)
        return min(refused, max(self.times.get("told", _NEVER), self.times.get(STATUS, _NEVER)))

    def earliest(self, failed: float) -> float:
        """Before which time a command that failed then may not end."""
        if self.listed == _NEVER or self.lost < _NEVER:
            return failed
        end = min(failed, self.answered) + STATUS_SECONDS
        if self.seen.signalled is not None:
            end = min(end, self.seen.signalled + GIVE_UP_SECONDS)
        return max(failed, min(self._told(), end))

    def _session_wait(self) -> float:
        """How long the session's end is waited for after Solve's answer."""
        if "session ended" in self.times or f"{SESSION} refused" in self.times:
            return 0.0
        is_there = self.times.get(SESSION, _NEVER) <= self.answered
        return min(self.scene.session_seconds, CLOSE_SECONDS) if is_there else CLOSE_SECONDS

    def all(self) -> Iterator[Cause]:
        """Every cause."""
        if self.listed == _NEVER:
            yield from self._while_listing()
            return
        yield from self._solve()
        yield from self._status()
        yield from self._session()
        yield from self._gateway()
        yield from self._around()

    def _while_listing(self) -> Iterator[Cause]:
        prefix = "listing workers for Build: failed to list workers: "
        if f"{LIST} refused" in self.times:
            yield self.times[f"{LIST} refused"], re.escape(prefix + self._refusal(LIST))
        if self.seen.signalled is not None:
            yield self.seen.signalled, re.escape(f"{prefix}Canceled: context canceled")
        if self.seen.lost is not None:
            yield self._lost_at(), re.escape(prefix) + ".*(Unavailable: ).*"

    def _solve(self) -> Iterator[Cause]:
        if f"{SOLVE} refused" in self.times:
            yield self.times[f"{SOLVE} refused"], re.escape(f"failed to solve: {self._refusal(SOLVE)}")
        if "failed" in self.times:
            yield self.times["failed"], f"failed to solve: {self.failure}"

    def _status(self) -> Iterator[Cause]:
        prefix = "failed to receive status: rpc error: code = "
        if f"{STATUS} refused" in self.times and self.scene.calls[STATUS].outcome != Code.CANCELLED:
            code = self.scene.calls[STATUS].outcome
            assert isinstance(code, Code)
            yield self.times[f"{STATUS} refused"], re.escape(f"{prefix}{code.text} desc = no {STATUS}")
        if STATUS not in self.times:
            return
        if self._outcome(SOLVE) == HANG and self.times[STATUS] + STATUS_WAIT_SECONDS < self.lost:
            yield self.times[STATUS] + STATUS_WAIT_SECONDS, re.escape(f"{prefix}NotFound desc = no such job") + ".*"
        if "status failed" in self.times:
            failed = max(self.times["status failed"], self.times[STATUS])
            if failed < self.answered:
                yield failed, re.escape(f"{prefix}Internal desc = no more statuses")
        if "late failure" in self.times:
            yield self.times["late failure"], re.escape(f"{prefix}Internal desc = no more statuses")

    def _session(self) -> Iterator[Cause]:
        for what in ("session ended", f"{SESSION} refused"):
            ended = self.times.get(what, _NEVER)
            if ended < self.answered:
                yield min(ended + SETTLE_SECONDS, max(self.solved, ended)), "session closed by the daemon while .*"

    def _gateway(self) -> Iterator[Cause]:
        prefix = "failed to run Build function: "
        for method in (PING, BRIDGE, RETURN):
            if f"{method} refused" in self.times:
                text = self._refusal(method) if method == PING else prefix + self._refusal(method)
                yield self._after_solve(self._returned(method)), re.escape(text)
        if self._outcome(PING) == HANG:
            yield self._after_solve(self.listed + PING_SECONDS), "DeadlineExceeded: context deadline exceeded"
        elif PING in self.times and self._outcome(SOLVE) == HANG:
            unknown = self.times[PING] + GATEWAY_WAIT_SECONDS
            if unknown < self.lost:
                yield self._after_solve(unknown), ".*no such job.*"

    def _returned(self, method: str) -> float:
        """When the frontend has failed: after a refused solve it still tells the daemon, by Return."""
        if method != BRIDGE:
            return self.times[f"{method} refused"]
        return min(self.times.get(RETURN, _NEVER), self.times.get(f"{RETURN} refused", _NEVER))

    def _after_solve(self, failed: float) -> float:
        """When a failure of the gateway counts: Solve is given time to tell the reason."""
        return min(failed + GATEWAY_SECONDS, max(self.solved, failed))

    def _around(self) -> Iterator[Cause]:
        if self.seen.signalled is not None:
            prefix = "failed to solve: Canceled: " if self.seen.signalled < self.answered else ""
            yield self.seen.signalled, re.escape(f"{prefix}context canceled")
        if self.seen.lost is not None:
            yield self._lost_at(), ".*(Unavailable: |code = Unavailable ).*"

    def _lost_at(self) -> float:
        """When the command must know that the connection is lost."""
        lost, loss = self.seen.lost, self.scene.loss
        assert lost is not None
        assert loss is not None
        return self.seen.last_heard + SILENCE_SECONDS if loss[0] is FaultKind.SILENCE else lost

    def _outcome(self, method: str) -> Code | str | None:
        trouble = self.scene.calls.get(method)
        return trouble.outcome if trouble is not None else None

    def _refusal(self, method: str) -> str:
        code = self._outcome(method)
        assert isinstance(code, Code)
        return _refusal(code, method)


def _refusal(code: Code, method: str) -> str:
    """What is printed of a refused call; for an unknown code its text alone."""
    return f"no {method}" if code is Code.UNKNOWN else f"{code.text}: no {method}"
