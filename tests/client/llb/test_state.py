"""States: values, immutability, marshalling, errors. Ports state_test.go, meta_test.go, async_test.go by name."""

from __future__ import annotations

import asyncio
import io

import pytest

from pybuildkit.client import llb
from pybuildkit.golang import context
from pybuildkit.golang.context import Context, background
from pybuildkit.third_party.platforms import Platform

CTX = background()


def env(state: llb.State) -> list[str]:
    return llb.run_sync(state.env(CTX)).to_array()


def test_state_meta() -> None:
    state = llb.image("foo").add_env("BAR", "abc").dir("/foo/bar")
    assert llb.run_sync(state.get_env(CTX, "BAR")) == "abc"
    assert llb.run_sync(state.get_dir(CTX)) == "/foo/bar"
    other = llb.image("foo").add_env("BAR", "def").dir("/foo")
    changed = other.reset(state)
    assert llb.run_sync(changed.get_env(CTX, "BAR")) == "abc"
    assert llb.run_sync(changed.get_dir(CTX)) == "/"
    assert llb.run_sync(state.get_env(CTX, "NONE")) is None


def test_format_patterns() -> None:
    state = llb.scratch()
    assert llb.run_sync(state.add_env("FOO", "ab%c").get_env(CTX, "FOO")) == "ab%c"
    assert llb.run_sync(state.add_envf("FOO", "ab%sc", "__").get_env(CTX, "FOO")) == "ab__c"
    assert llb.run_sync(state.dir("/foo/bar%d").get_dir(CTX)) == "/foo/bar%d"
    assert llb.run_sync(state.dirf("/foo/bar%d", 123).get_dir(CTX)) == "/foo/bar123"
    assert llb.run_sync(state.add_envf("FOO", "%s %q %d%%", "a").get_env(CTX, "FOO")) == "a %!q(MISSING) %!d(MISSING)%"
    assert llb.run_sync(state.dirf("/x%d", "y", 1).get_dir(CTX)) == "/x%!d(string=y)%!(EXTRA int=1)"


def test_state_platform() -> None:
    assert llb.run_sync(llb.image("foo").get_platform(CTX)) is None
    state = llb.image("foo", llb.linux_armhf)
    assert llb.run_sync(state.get_platform(CTX)) == Platform(os="linux", architecture="arm", variant="v7")


def test_rel_path_dir_option_is_reusable() -> None:
    option = llb.dir("sub")
    one = llb.scratch().dir("/one").with_(option)
    two = llb.scratch().dir("/two").with_(option)
    assert llb.run_sync(one.get_dir(CTX)) == "/one/sub"
    assert llb.run_sync(two.get_dir(CTX)) == "/two/sub"


def test_environment_order_and_deletion() -> None:
    listed = llb.EnvList().add_or_replace("A", "1").add_or_replace("B", "2").add_or_replace("A", "3")
    assert listed.to_array() == ["B=2", "A=3"]
    assert listed.delete("B").to_array() == ["A=3"]
    assert listed.delete("A").add_or_replace("A", "4").to_array() == ["B=2", "A=4"]
    assert listed.set_default("A", "9") is listed
    assert listed.keys() == ["B", "A"]


def test_states_are_immutable() -> None:
    base = llb.image("foo").add_env("A", "1")
    base.add_env("A", "2").dir("/x").user("u")
    assert env(base) == ["A=1"]
    assert llb.run_sync(base.get_dir(CTX)) == "/"


def test_options_of_a_run_hold_for_the_run_alone() -> None:
    state = llb.image("foo").run(llb.shlex("env"), llb.add_env("X", "1"), llb.dir("/y")).root()
    assert env(state) == []
    assert llb.run_sync(state.get_args(CTX)) is None


def test_values_of_the_caller() -> None:
    state = llb.scratch().with_value("mine", 1)
    assert llb.run_sync(state.add_env("A", "1").value(CTX, "mine")) == 1
    assert llb.run_sync(state.value(CTX, "other")) is None


def test_marshal_defaults_belong_to_the_state_alone() -> None:
    state = llb.image("foo").set_marshal_defaults(llb.linux_arm64)
    arm = state.marshal_sync()
    assert arm.def_ == llb.image("foo").marshal_sync(llb.linux_arm64).def_
    assert state.marshal_sync(llb.linux_amd64).def_ == llb.image("foo").marshal_sync(llb.linux_amd64).def_
    assert state.dir("/x").marshal_defaults == ()


def test_without_options_the_machine_decides() -> None:
    op = next(iter(llb.image("foo").marshal_sync().ops()))[1]
    assert op.platform.OS
    assert op.platform.Architecture


def test_local_sources_get_a_new_id_for_each_marshal() -> None:
    state = llb.local("context")
    assert state.marshal_sync().head() != state.marshal_sync().head()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: llb.image("x", llb.readonly_root_fs()), "image() does not take llb.readonly_root_fs()"),  # type: ignore[arg-type]  # that it is refused at run time is the test
        (lambda: llb.scratch().run(llb.with_parents(True)), "run() does not take llb.with_parents(True)"),  # type: ignore[arg-type]  # as above
        (lambda: llb.local("c", "pattern"), "local() does not take 'pattern'"),  # type: ignore[arg-type]  # as above
        (lambda: llb.scratch().run(llb.readonly_root_fs), "run() does not take readonly_root_fs (a function that was"),  # type: ignore[arg-type]  # as above
        (lambda: llb.mkdir("/x", 0o755, llb.with_allow_wildcard(True)), "mkdir() does not take llb.with_allow_wildc"),  # type: ignore[arg-type]  # as above
        (lambda: llb.copy("alpine", "/a", "/b"), "copy() takes a state, or an action with its state, to copy from"),  # type: ignore[arg-type]  # as above
        (lambda: llb.scratch().file("x"), "file() takes mkdir(), mkfile(), copy(), rm() or symlink(), not 'x'"),  # type: ignore[arg-type]  # as above
        (lambda: llb.merge(llb.image("a")), "merge() takes a list of states, not <State docker-image://"),  # type: ignore[arg-type]  # as above
        (lambda: llb.args("ls -l"), "args() takes the words of a command, not one string: did you mean shlex('ls -l')"),
        (lambda: llb.include_patterns("*.py"), "include_patterns() takes a list of patterns, not one string"),
    ],
)
def test_what_is_in_the_wrong_place_is_named(make: object, text: str) -> None:
    assert callable(make)
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value).startswith(text)


def test_repr_reads() -> None:
    state = llb.image("alpine").dir("/src").run(llb.shlex("make all")).root()
    assert repr(state) == "<State run make all in /src>"
    assert repr(llb.scratch()) == "<State scratch>"
    assert repr(llb.image("alpine")) == "<State docker-image://docker.io/library/alpine:latest>"
    assert repr(llb.add_env("A", "1")) == "llb.add_env('A', '1')"
    assert repr(llb.linux_amd64) == "llb.linux_amd64"


# Asynchronous states


def test_async_non_blocking() -> None:
    calls: list[str] = []

    def make(ctx: Context, state: llb.State, constraints: llb.Constraints) -> llb.State:
        calls.append("made")
        return state.add_env("A", "1").dir("sub")

    state = llb.image("foo").dir("/top").async_(make).add_env("B", "2").dir("more")
    assert calls == []
    assert env(state) == ["A=1", "B=2"]
    assert llb.run_sync(state.get_dir(CTX)) == "/top/sub/more"
    state.run(llb.shlex("x")).root().marshal_sync(llb.linux_amd64)
    assert calls == ["made"]


async def test_async_function_may_wait_and_runs_once() -> None:
    started = 0
    go = asyncio.Event()

    async def make(ctx: Context, state: llb.State, constraints: llb.Constraints) -> llb.State:
        nonlocal started
        started += 1
        await go.wait()
        return state.add_env("A", "1")

    state = llb.image("foo").async_(make).run(llb.shlex("x")).root()
    with pytest.raises(llb.PendingError, match=r"await state\.marshal"):
        state.marshal_sync(llb.linux_amd64)
    tasks = [asyncio.ensure_future(state.marshal(CTX, llb.linux_amd64)) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    definitions = await asyncio.gather(*tasks)
    assert started == 2  # the one that marshal_sync gave up, and one for the three
    assert definitions[0] == definitions[1] == definitions[2]


async def test_a_cancelled_marshal_leaves_the_state_to_others() -> None:
    blocked = asyncio.Event()

    async def make(ctx: Context, state: llb.State, constraints: llb.Constraints) -> llb.State:
        if not blocked.is_set():
            blocked.set()
            await asyncio.Event().wait()
        return state

    state = llb.image("foo").async_(make)
    first = asyncio.ensure_future(state.marshal(CTX, llb.linux_amd64))
    await blocked.wait()
    second = asyncio.ensure_future(state.marshal(CTX, llb.linux_amd64))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).def_ == llb.image("foo").marshal_sync(llb.linux_amd64).def_
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_context_that_has_ended_stops_the_marshal() -> None:
    ctx, cancel = context.with_cancel(background())
    cancel()
    state = llb.image("foo").async_(lambda _ctx, state, _constraints: state)
    with pytest.raises(context.CanceledError):
        await state.marshal(ctx)
    assert (await state.marshal(CTX)).head()


def test_an_error_is_kept() -> None:
    calls = []

    def make(ctx: Context, state: llb.State, constraints: llb.Constraints) -> llb.State:
        calls.append(1)
        raise ValueError("boom")

    state = llb.image("foo").async_(make)
    for _ in range(2):
        with pytest.raises(ValueError, match="boom"):
            state.marshal_sync()
    assert calls == [1]


def test_async_scratch_counts_as_scratch() -> None:
    empty = llb.scratch().async_(lambda _ctx, state, _constraints: state)
    plain = llb.scratch().file(llb.mkdir("/x", 0o755)).marshal_sync(llb.linux_amd64)
    assert empty.file(llb.mkdir("/x", 0o755)).marshal_sync(llb.linux_amd64).def_ == plain.def_
    assert empty.marshal_sync(llb.linux_amd64).def_ == []
    run = llb.image("a").run(llb.shlex("x"), llb.add_mount("/m", empty)).root().marshal_sync(llb.linux_amd64)
    assert len(run.def_) == 3


def test_async_state_made_of_itself_is_an_error() -> None:
    made: list[llb.State] = []
    state = llb.image("foo").async_(lambda _ctx, _state, _constraints: made[0])
    made.append(state)
    with pytest.raises(llb.LLBError, match="made of itself"):
        state.marshal_sync()
    looped: list[llb.State] = []
    around = llb.image("foo").async_(lambda _ctx, _state, _constraints: looped[0]).file(llb.mkdir("/x", 0o755))
    looped.append(around)
    with pytest.raises(llb.LLBError, match="cycle"):
        around.marshal_sync()


def test_no_graph_is_too_deep() -> None:
    state = llb.image("foo")
    for number in range(3000):
        state = state.run(llb.args([str(number)])).root().add_env(f"E{number % 5}", str(number)).dir("x").dir("..")
    assert len(state.marshal_sync(llb.linux_amd64).def_) == 3002
    later = llb.image("foo")
    for _ in range(1200):
        later = later.async_(lambda _ctx, state, _constraints: state.add_env("A", "1").dir("x").dir(".."))
    assert llb.run_sync(later.get_dir(CTX)) == "/"
    assert len(later.run(llb.shlex("x")).root().marshal_sync(llb.linux_amd64).def_) == 3
    action = llb.mkdir("/x", 0o755)
    for _ in range(3000):
        action = llb.mkdir("/y", 0o755).copy(action.with_state(llb.scratch()), "/x", "/z")
    assert len(llb.scratch().file(action).marshal_sync(llb.linux_amd64).def_) == 2


def test_emit_writes_a_definition() -> None:
    buffer = io.BytesIO()
    state = llb.image("foo")
    llb.emit(state, llb.linux_amd64, file=buffer)
    assert buffer.getvalue() == state.marshal_sync(llb.linux_amd64).to_bytes()


async def _slow(ctx: Context, state: llb.State, constraints: llb.Constraints) -> llb.State:
    await asyncio.sleep(0)
    return state


def test_emit_waits_where_it_must() -> None:
    buffer = io.BytesIO()
    llb.emit(llb.image("foo").async_(_slow), llb.linux_amd64, file=buffer)
    assert buffer.getvalue() == llb.image("foo").marshal_sync(llb.linux_amd64).to_bytes()


def test_a_command_that_ends_in_quotes_is_cut_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"closing quote.*cut to \('echo', 'a b'\)"):
        option = llb.shlex("echo 'a b' \"c d")
    op = list(llb.image("a").run(option).root().marshal_sync().ops())[1][1]
    assert list(op.exec.meta.args) == ["echo", "a b"]
