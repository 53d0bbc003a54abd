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
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

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
_FRACTIONS |= {"status": 0.0, "export": 0.0, "end status": 0.0, "fail status": 2.0**-3, "end session": 2.0**-4}
_END_FRACTION = 2.0**-5


@dataclass(frozen=True)
class Act:
    """A step of the build: "status", "end status", "fail status", "end session" or "export", after some seconds."""

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

    @property
    def exports(self) -> bool:
        """Whether the command is to get a file."""
        return any(act.kind == "export" for act in self.acts)

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
    rarely = st.integers(0, 5).map(lambda number: number == 0)
    statuses = st.builds(Act, st.just("status"), st.sampled_from([0, 0, 0, 1, 3]))
    once = st.sampled_from(["end status", "fail status", "fail status", "end session", "export", "export"])
    acts = st.tuples(st.lists(statuses, max_size=5), st.lists(st.builds(Act, once, seconds), max_size=2)).flatmap(
        lambda both: st.permutations(both[0] + list({act.kind: act for act in both[1]}.values())).map(tuple)
    )
    outcomes = st.one_of(st.none(), st.none(), st.just(HANG), st.sampled_from(_CODES))
    troubles = {
        name: st.tuples(rarely, st.builds(Trouble, st.integers(0, most), outcomes)) for name, most in _CALLS.items()
    }
    calls = st.fixed_dictionaries(troubles).map(
        lambda found: {name: trouble for name, (is_there, trouble) in found.items() if is_there}
    )
    times = st.integers(0, 12)
    signals = st.tuples(st.sampled_from([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]), times)
    losses = st.tuples(st.sampled_from([FaultKind.EOF, FaultKind.SILENCE, FaultKind.GARBAGE]), times)
    return st.builds(
        Scene,
        acts=acts,
        end=st.sampled_from(["answer", "answer", "fail", "hang"]),
        end_after=seconds,
        calls=calls,
        signal=st.one_of(st.none(), st.none(), signals),
        loss=st.one_of(st.none(), st.none(), losses),
        deaf=st.one_of(st.none(), st.none(), st.none(), st.none(), times),
        progress=st.sampled_from(["plain", "plain", "rawjson", "quiet", "github"]),
        trace=st.sampled_from(["pipe", "pipe", "pipe", "pipe", "file", "full", "none"]),
        response=st.sampled_from([{}, {"key": "value"}]),
    )


scenes = _scenes()


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
        now = asyncio.get_running_loop().time() - virtual_clock.START
        self.statuses.append((number, now if is_told else _NEVER))

    def must_have_arrived(self, end: float) -> list[int]:
        """The statuses that were sent before then to a Status call that was served."""
        served = self.times.get(STATUS, _NEVER)
        return [number for number, when in self.statuses if max(when, served) < end]

    def note(self, what: str) -> None:
        """Something happens now."""
        now = asyncio.get_running_loop().time() - virtual_clock.START
        assert self.times.setdefault(what, now) == now, f"{what} happens twice"


class Player:
    """The daemon's part in a scene."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.journal = Journal()

    def script(self) -> Script:
        """The script; its steps are noted when they are taken."""
        return Script(_Steps(self._steps), response=self.scene.response, before=self._before)

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

    def _steps(self) -> Iterator[Step]:
        note, scene = self.journal.note, self.scene
        number, has_statuses = 0, True
        for act in scene.acts:
            yield Delay(act.seconds + _FRACTIONS[act.kind])
            match act.kind:
                case "status":
                    number += 1
                    self.journal.sent(number, has_statuses)
                    yield Send(status(number))
                case "end status":
                    has_statuses = False
                    yield EndStatus()
                case "fail status":
                    if has_statuses:
                        note("status failed")
                    has_statuses = False
                    yield EndStatus(StatusError(Code.INTERNAL, "no more statuses"))
                case "end session":
                    yield Call(self._end_session)
                case _:
                    yield Call(self._export)
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

    async def _export(self, ctx: Context, caller: Caller) -> None:
        try:
            writer = await copy_file_writer(ctx, {}, 0, caller)
            for part in (TAR[:1000], TAR[1000:]):
                await writer.write_all(part)
                await context.run(ctx, asyncio.sleep(1))
            await writer.close()
        except Exception:
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

    Where several errors come at the same time, any of them is the first.
    """

    when: float | None
    texts: list[str]

    def fits(self, text: str) -> bool:
        """Whether that is the error."""
        return any(re.fullmatch(pattern, text, re.DOTALL) for pattern in self.texts)


def judge(scene: Scene, journal: Journal, seen: Seen) -> Verdict:
    """What must have come of a scene that went as noted."""
    times = dict(journal.times)
    if seen.lost is not None:
        times = {what: when for what, when in times.items() if when <= seen.lost}
    latest = times.get("answered", _NEVER) + STATUS_SECONDS
    causes = [
        cause
        for cause in _Causes(scene, times, journal.failure, seen).all()
        if cause[0] <= latest and cause[0] < _NEVER
    ]
    if not causes:
        return Verdict(None, [])
    first = min(when for when, _ in causes)
    return Verdict(first, [text for when, text in causes if when == first])


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
