"""Properties of the error group, on virtual time, against a model.

Random groups: tasks with a delay, an outcome, and whether they obey the context; a limit; an outer cancellation at
some moment; tasks that are added while others run. For each run a model says when every task ends, which error is
the first, and when the derived context is cancelled and why.

    wait returns after all have ended · the first error wins · the derived context is cancelled exactly at the first
    error, at the outer cancellation or at wait's return, with that cause · a plain group cancels nothing
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from pybuildkit.golang import context, errgroup
from pybuildkit.golang.context import CanceledError, Context
from tests import virtual_clock


class TaskError(Exception):
    """What a task ends with."""


class OuterCause(Exception):
    """Why the outer context was cancelled."""


@dataclass(frozen=True)
class Plan:
    """One task: how long it works, whether it fails then, and whether it stops at the context's end."""

    seconds: int
    fails: bool
    obeys: bool


@dataclass(frozen=True)
class Scene:
    """A group's life. Tasks end at whole seconds, the outer cancellation comes between them."""

    plans: list[Plan]
    limit: int
    derived: bool
    outer_cancel: float | None


@dataclass
class Run:
    """What happened."""

    started: dict[int, float] = field(default_factory=dict)
    ended: dict[int, float] = field(default_factory=dict)
    errors: list[tuple[float, BaseException]] = field(default_factory=list)
    highest: int = 0
    cancelled_at: float | None = None
    cause: BaseException | None = None
    wait_returned: float = 0.0
    wait_error: BaseException | None = None
    left_over: list[str] = field(default_factory=list)


PLANS = st.builds(Plan, seconds=st.integers(0, 19), fails=st.booleans(), obeys=st.booleans())
SCENES = st.builds(
    Scene,
    plans=st.lists(PLANS, max_size=8),
    limit=st.sampled_from([-1, -1, 1, 2, 3]),
    derived=st.booleans(),
    outer_cancel=st.none() | st.integers(0, 24).map(lambda n: n + 0.5),
)


async def _play(scene: Scene, seen: Run) -> None:
    loop = asyncio.get_running_loop()
    outer, cancel_outer = context.with_cancel_cause(context.background())
    group, ctx = errgroup.with_context(outer) if scene.derived else (errgroup.Group(), outer)
    group.set_limit(scene.limit)

    def cancelled() -> None:
        seen.cancelled_at = loop.time() - virtual_clock.START
        seen.cause = ctx.cause()

    context.after_func(ctx, cancelled)
    if scene.outer_cancel is not None:
        loop.call_at(virtual_clock.START + scene.outer_cancel, lambda: cancel_outer(OuterCause()))
    for number, plan in enumerate(scene.plans):
        await group.go(_task(number, plan, ctx, seen))
    try:
        await group.wait()
    except Exception as err:
        seen.wait_error = err
    seen.wait_returned = loop.time() - virtual_clock.START


def _task(number: int, plan: Plan, ctx: Context, seen: Run) -> errgroup.Func:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        seen.started[number] = loop.time() - virtual_clock.START
        seen.highest = max(seen.highest, len(seen.started) - len(seen.ended))
        try:
            if plan.obeys:
                await context.run(ctx, asyncio.sleep(plan.seconds))
            else:
                await asyncio.sleep(plan.seconds)
            if plan.fails:
                raise TaskError(number)
        except Exception as err:
            seen.errors.append((loop.time() - virtual_clock.START, err))
            raise
        finally:
            seen.ended[number] = loop.time() - virtual_clock.START

    return work


def _observe(scene: Scene) -> Run:
    seen = Run()
    _, outcome = virtual_clock.run_with_outcome(_play(scene, seen))
    seen.left_over = outcome.left_over
    return seen


@settings(max_examples=400, deadline=None)
@given(scene=SCENES)
def test_wait_returns_after_all_have_ended(scene: Scene) -> None:
    seen = _observe(scene)
    assert seen.ended.keys() == seen.started.keys() == set(range(len(scene.plans)))
    assert seen.wait_returned == max(seen.ended.values(), default=0.0)
    assert seen.left_over == []


@settings(max_examples=400, deadline=None)
@given(scene=SCENES)
def test_the_first_error_wins(scene: Scene) -> None:
    seen = _observe(scene)
    assert seen.wait_error is (seen.errors[0][1] if seen.errors else None)


@settings(max_examples=400, deadline=None)
@given(scene=SCENES)
def test_the_limit_holds(scene: Scene) -> None:
    seen = _observe(scene)
    if scene.limit > 0:
        assert seen.highest <= scene.limit
    else:
        assert set(seen.started.values()) <= {0.0}, "without a limit everything starts at once"


@settings(max_examples=400, deadline=None)
@given(scene=SCENES)
def test_the_context_is_cancelled_at_the_first_reason_with_its_cause(scene: Scene) -> None:
    seen = _observe(scene)
    outer = scene.outer_cancel
    if not scene.derived:
        happened = outer is not None and outer <= seen.wait_returned
        assert seen.cancelled_at == (outer if happened else None), "a plain group cancels nothing"
        return
    reasons: list[tuple[float, int]] = [(seen.wait_returned, 2)]
    if seen.errors:
        reasons.append((seen.errors[0][0], 1))
    if outer is not None:
        reasons.append((outer, 0))
    moment, reason = min(reasons)
    assert seen.cancelled_at == moment
    if reason == 0:
        assert isinstance(seen.cause, OuterCause)
    elif reason == 1:
        assert seen.cause is seen.errors[0][1]
    else:
        assert isinstance(seen.cause, CanceledError)


@settings(max_examples=400, deadline=None)
@given(scene=SCENES)
def test_who_does_not_obey_is_not_interrupted(scene: Scene) -> None:
    seen = _observe(scene)
    for number, plan in enumerate(scene.plans):
        took = seen.ended[number] - seen.started[number]
        assert took <= plan.seconds
        if not plan.obeys:
            assert took == plan.seconds


@settings(max_examples=200, deadline=None)
@given(scene=SCENES, moment=st.integers(0, 12))
def test_cancelling_wait_ends_after_all_tasks_and_leaves_none(scene: Scene, moment: int) -> None:
    seen = Run()

    async def scenario() -> bool:
        task = asyncio.create_task(_play(scene, seen))
        await asyncio.sleep(moment)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    cancelled, outcome = virtual_clock.run_with_outcome(scenario())
    if cancelled and len(seen.started) == len(scene.plans):
        assert seen.ended.keys() == seen.started.keys()
        assert max(seen.ended.values()) <= moment, "the tasks are cancelled with the wait"
        assert outcome.left_over == []
        if scene.derived:
            assert seen.cancelled_at is not None
            assert seen.cancelled_at <= moment


class GroupMachine(RuleBasedStateMachine):
    """A group driven step by step: tasks are added, end well or badly, contexts end, time is told by the steps."""

    tasks = Bundle("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=virtual_clock.VirtualClockLoop)
        self.running: dict[int, asyncio.Event] = {}
        self.failing: dict[int, TaskError | None] = {}
        self.count = 0
        self.first: TaskError | None = None
        self.outer_cause: OuterCause | None = None
        self.expected_cause: BaseException | None = None

    @initialize(limit=st.sampled_from([-1, 1, 2, 3]))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.outer, self.cancel_outer = context.with_cancel_cause(context.background())
        self.group, self.ctx = errgroup.with_context(self.outer)
        self.group.set_limit(limit)

    def _settle(self) -> None:
        async def turns() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.runner.run(turns())

    @rule(target=tasks)
    def add(self) -> int:
        number = self.count
        self.count += 1

        async def try_it() -> bool:
            gate = asyncio.Event()

            async def work() -> None:
                await gate.wait()
                failure = self.failing.get(number)
                if failure is not None:
                    raise failure

            if not self.group.try_go(work):
                return False
            self.running[number] = gate
            return True

        fits = self.limit < 0 or len(self.running) < self.limit
        assert self.runner.run(try_it()) is fits
        return number

    @rule(number=tasks, fails=st.booleans())
    def end(self, number: int, fails: bool) -> None:
        gate = self.running.pop(number, None)
        if gate is None:
            return
        failure = TaskError(number) if fails else None
        self.failing[number] = failure
        if failure is not None:
            self.first = self.first or failure
            self.expected_cause = self.expected_cause or failure
        gate.set()
        self._settle()

    @rule()
    @precondition(lambda self: self.outer_cause is None)
    def cancel_outside(self) -> None:
        self.outer_cause = OuterCause()
        self.expected_cause = self.expected_cause or self.outer_cause
        self.cancel_outer(self.outer_cause)

    @rule()
    def wait_does_not_return_early(self) -> None:
        async def peek() -> bool:
            task = asyncio.create_task(self.group.wait())
            for _ in range(10):
                await asyncio.sleep(0)
            done = task.done()
            if done:
                assert task.exception() is self.first
            else:
                # Cancelling wait would cancel the tasks: let them end well instead, and start over.
                for gate in self.running.values():
                    gate.set()
                await asyncio.wait({task})
                assert task.exception() is self.first
            return done

        assert self.runner.run(peek()) is (not self.running)
        self.running.clear()
        assert self.ctx.is_done()
        if self.expected_cause is None:
            assert isinstance(self.ctx.cause(), CanceledError)
            self.expected_cause = self.ctx.cause()

    @invariant()
    def the_context_has_ended_just_when_there_was_a_reason(self) -> None:
        if hasattr(self, "ctx"):
            assert self.ctx.cause() is self.expected_cause
            assert self.ctx.is_done() is (self.expected_cause is not None)

    def teardown(self) -> None:
        for gate in self.running.values():
            gate.set()
        self._settle()
        self.runner.close()


TestGroupMachine = GroupMachine.TestCase
TestGroupMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
