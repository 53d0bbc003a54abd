"""Git repositories as sources, in ADD and as contexts: trees, texts, logins."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from pybuildkit import client as buildkit
from pybuildkit.client import SolveOpt, llb
from pybuildkit.client.llb._git import GitInfo
from pybuildkit.client.llb.sourceresolver import MetaResponse, Opt, ResolveGitOpt
from pybuildkit.frontend.gateway import client as gateway
from pybuildkit.golang.chan import Chan
from pybuildkit.golang.context import Context
from pybuildkit.session.secrets import secretsprovider
from pybuildkit.solver.pb import ops_pb2
from tests.conformance.services import kind, need
from tests.conformance.test_upstream_solve import run_build
from tests.conformance.test_web_sources import BG, Outcome, build, fetch
from tests.daemons import write_tree
from tests.fake_buildkitd.registry.servers import Answer, Request
from tests.gitserver import TIME, GitServer, git_server

FIRST = {"a": "1", "sub/b": "x:2", "l": "l:a", "subl": "l:sub"}
SECOND = {"c": "3", "Dockerfile": "FROM scratch\nCOPY a c* /\n", "sub/Dockerfile": "FROM scratch\nCOPY b /\n"}
Names = dict[str, str]


@pytest.fixture
def server(tmp_path: Path):  # type: ignore[no-untyped-def]  # a generator of a GitServer
    with git_server(tmp_path / "git") as server:
        yield server


@pytest.fixture
def names(server: GitServer) -> Names:
    """A repository with two commits, two tags of the first one, and a branch; their names."""
    found = {"first": server.commit(FIRST)}
    found["light"] = server.tag("light")
    found["heavy"] = server.tag("heavy", annotated=True)
    found["main"] = server.commit(SECOND)
    found["other"] = server.commit({"o": "of the other"}, branch="other", parent="main")
    return found


def filled(text: str, names: Names) -> str:
    """A text with `<NAME>` and `<NAME:LENGTH>` replaced by the commits' names."""
    return re.sub(r"<(\w+):?(\d*)>", lambda m: names[m[1]][: int(m[2] or 64)], text)


def contents(outcome: Outcome) -> dict[str, tuple[int, bytes]]:
    assert outcome.error == ""
    return {file[0]: (file[1], file[-1]) for file in outcome.files if not file[0].startswith(".git/")}


FILES = {"a": (0o644, b"1"), "sub/b": (0o755, b"2")}
MAIN = {
    **FILES,
    "c": (0o644, b"3"),
    "Dockerfile": (0o644, SECOND["Dockerfile"].encode()),
    "sub/Dockerfile": (0o644, SECOND["sub/Dockerfile"].encode()),
}


@pytest.mark.parametrize(
    ("fragment", "options", "expected"),
    [
        ("", [], MAIN),
        ("main", [], MAIN),
        ("refs/heads/main", [], MAIN),
        ("light", [], FILES),
        ("heavy", [], FILES),
        ("refs/tags/heavy", [], FILES),
        ("<first>", [], FILES),
        ("main:sub", [], {"b": FILES["sub/b"], "Dockerfile": MAIN["sub/Dockerfile"]}),
        (":sub/../sub/", [], {"b": FILES["sub/b"], "Dockerfile": MAIN["sub/Dockerfile"]}),
        ("main", [llb.git_checksum("<main:9>")], MAIN),
        ("heavy", [llb.git_checksum("<first>")], FILES),
        ("main", [llb.git_checksum("<first>"), llb.git_fetch_by_commit()], FILES),
        ("other", [], {**MAIN, "o": (0o644, b"of the other")}),
    ],
)
async def test_a_tree(
    addr: str,
    server: GitServer,
    names: Names,
    fragment: str,
    options: Sequence[llb.GitOption],
    expected: Mapping[str, tuple[int, bytes]],
) -> None:
    if options or ":" in fragment or fragment in ("", "refs/tags/heavy"):
        need(addr, "modern-git")
    given = [_filled_checksum(option, names) for option in options]
    found = await fetch(addr, llb.git(server.url(), filled(fragment, names), *given))
    assert contents(found) == expected


def _filled_checksum(option: llb.GitOption, names: Names) -> llb.GitOption:
    info = GitInfo()
    option.set_git_option(info)
    return llb.git_checksum(filled(info.checksum, names)) if info.checksum else option


@pytest.mark.parametrize(
    ("fragment", "options", "error"),
    [
        ("nothing", [], 'failed to load cache key: repository does not contain ref nothing, output: ""'),
        ("-x", [], 'failed to load cache key: invalid git ref "-x"'),
        ("main:none", [], 'invalid subdir none: failed to lstat "none": statat none: no such file or directory'),
        ("main:a", [], 'invalid subdir a: git subpath "a" contains non-directory "a"'),
        ("main:subl", [], 'invalid subdir subl: git subpath "subl" contains non-directory "subl"'),
        ("main", [llb.git_checksum("abc")], "failed to load cache key: expected checksum to match abc, got <main>"),
        (
            "main",
            [llb.git_checksum("xyz")],
            "failed to load cache key: invalid checksum xyz for Git URL, expected hex commit hash",
        ),
        ("<first>", [llb.git_checksum("abc")], "failed to load cache key: expected checksum to match abc, got <first>"),
        (
            "main",
            [llb.git_fetch_by_commit()],
            "failed to load cache key: fetch-by-commit requires a checksum or a commit SHA ref",
        ),
        (
            "main",
            [llb.git_checksum("abc"), llb.git_fetch_by_commit()],
            'failed to load cache key: fetch-by-commit requires a full commit SHA checksum, got "abc"',
        ),
        (
            40 * "a",
            [],
            f"failed to checkout remote URL: git stderr:\nfatal: reference is not a tree: {40 * 'a'}\n: "
            "exit status 128",
        ),
    ],
)
async def test_what_cannot_be_had(
    addr: str, server: GitServer, names: Names, fragment: str, options: Sequence[llb.GitOption], error: str
) -> None:
    need(addr, "modern-git")
    found = await fetch(addr, llb.git(server.url(), filled(fragment, names), *options))
    assert found.error.replace(server.url(), "URL") == f"failed to solve: {filled(error, names)}"


async def test_a_repository_that_is_not_there(addr: str, server: GitServer) -> None:
    need(addr, "modern-git")
    found = await fetch(addr, llb.git(server.url("none")))
    assert found.error.replace(server.url("none"), "URL") == (
        "failed to solve: failed to load cache key: error fetching default branch for repository URL: "
        "git stderr:\nfatal: repository 'URL/' not found\n: exit status 128"
    )


async def test_the_repository_itself_is_kept(addr: str, server: GitServer, names: Names) -> None:
    need(addr, "modern-git")
    for ref, commit in (("main", "main"), ("heavy", "first"), (names["first"], "first")):
        found = await fetch(addr, llb.git(server.url(), ref, llb.keep_git_dir()))
        assert contents(found) == (MAIN if ref == "main" else FILES)
        kept = {file[0]: file[-1].decode() for file in found.files if file[0] in (".git/HEAD", ".git/config")}
        assert kept[".git/HEAD"] == names[commit] + "\n"
        assert f"\turl = {server.url()}\n" in kept[".git/config"]


async def test_times_of_the_commit(addr: str, server: GitServer, names: Names) -> None:
    need(addr, "modern-git")
    found = await fetch(addr, llb.git(server.url(), "main", llb.git_mtime_commit()))
    assert {file[4] for file in found.files} == {TIME}


async def test_a_commit_is_fetched_once(addr: str, server: GitServer, names: Names) -> None:
    first = await fetch(addr, llb.git(server.url(), names["main"]))
    server.asked.clear()
    second = await fetch(addr, llb.git(server.url(), names["main"]))
    assert server.asked == []
    assert contents(first) == contents(second)


async def test_a_branch_that_goes_on(addr: str, server: GitServer, names: Names) -> None:
    state = llb.git(server.url(), "main")
    assert contents(await fetch(addr, state)) == MAIN
    server.commit({"a": "changed"})
    assert contents(await fetch(addr, state)) == {**MAIN, "a": (0o644, b"changed")}


async def test_submodules(addr: str, server: GitServer, names: Names) -> None:
    part = server.commit({"s": "of the part"}, name="part")
    listed = f'[submodule "part"]\n\tpath = part\n\turl = {server.url("part")}\n'
    server.commit({"part": f"m:{part}", ".gitmodules": listed})
    found = contents(await fetch(addr, llb.git(server.url(), "main")))
    assert found["part/s"] == (0o644, b"of the part")
    assert "part/.git" in found
    if kind(addr) != "docker":
        without = contents(await fetch(addr, llb.git(server.url(), "main", llb.git_skip_submodules())))
        assert "part/s" not in without
        assert ".gitmodules" in without


# Logins


def _login(text: str) -> str:
    return "basic " + base64.b64encode(text.encode()).decode()


def guarded(expected: str) -> Callable[[Request], Answer | None]:
    def hook(request: Request) -> Answer | None:
        said = request.headers.get("authorization", "")
        if said.partition(" ")[2] == expected.partition(" ")[2]:
            return None
        return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""

    return hook


@pytest.mark.parametrize(
    ("secrets", "expected"),
    [
        ({"GIT_AUTH_TOKEN": b"planted"}, _login("x-access-token:planted")),
        ({"GIT_AUTH_HEADER": b"basic cGxhbnRlZA=="}, "basic cGxhbnRlZA=="),
        ({"GIT_AUTH_TOKEN.HOST": b"planted", "GIT_AUTH_TOKEN": b"other"}, _login("x-access-token:planted")),
    ],
)
async def test_a_login_from_secrets(
    addr: str, server: GitServer, names: Names, secrets: Mapping[str, bytes], expected: str
) -> None:
    need(addr, "modern-git")
    server.hook = guarded(expected)
    given = secretsprovider.from_map({name.replace("HOST", server.host): value for name, value in secrets.items()})
    found = await fetch(addr, llb.git(server.url(), "main"), session=[given])
    assert contents(found) == MAIN


async def test_a_login_in_the_address(addr: str, server: GitServer, names: Names) -> None:
    need(addr, "modern-git")
    server.hook = guarded(_login("me:planted"))
    url = server.url().replace("://", "://me:planted@")
    found = await fetch(addr, llb.git(url, "other", llb.keep_git_dir()))
    assert found.error == ""
    (config,) = (file[-1].decode() for file in found.files if file[0] == ".git/config")
    assert f"\turl = {server.url().replace('://', '://xxxxx:xxxxx@')}\n" in config
    refused = await fetch(addr, llb.git(url.replace("planted", "planted2"), "main"))
    assert refused.error != ""
    assert "planted" not in refused.error


async def test_what_a_reference_means(addr: str, server: GitServer, names: Names) -> None:
    need(addr, "policy-session")
    answers: list[MetaResponse] = []

    async def frontend(ctx: Context, client: gateway.Client) -> None:
        for ref in ("main", "heavy"):
            op = ops_pb2.SourceOp(identifier=f"git://{server.host}/repo.git#{ref}")
            op.attrs["git.fullurl"] = server.url()
            opt = Opt(git_opt=ResolveGitOpt(return_object=ref == "heavy"))
            answers.append(await client.resolve_source_metadata(ctx, op, opt))

    await run_build(addr, frontend)
    main, heavy = (answer.git for answer in answers)
    assert main is not None
    assert heavy is not None
    assert (main.ref, main.checksum, main.commit_checksum) == ("refs/heads/main", names["main"], "")
    assert (main.commit_object, main.tag_object) == (b"", b"")
    assert (heavy.ref, heavy.checksum) == ("refs/tags/heavy", names["heavy"])
    assert heavy.commit_checksum == names["first"]
    assert heavy.tag_object.startswith(f"object {names['first']}\ntype commit\ntag heavy\n".encode())
    assert heavy.commit_object.startswith(b"tree ")


# Dockerfiles


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ADD URL /x/", {"x/a", "x/c", "x/sub/b", "x/Dockerfile", "x/sub/Dockerfile"}),
        ("ADD URL#heavy /x/", {"x/a", "x/sub/b"}),
        ("ADD URL#main:sub /x", {"x/b", "x/Dockerfile"}),
        ("ADD URL?branch=main&subdir=sub /x", {"x/b", "x/Dockerfile"}),
        ("ADD --checksum=<first> URL#light /x/", {"x/a", "x/sub/b"}),
    ],
)
async def test_add(addr: str, server: GitServer, names: Names, tmp_path: Path, line: str, expected: set[str]) -> None:
    need(addr, "modern-git")
    text = filled(line.replace("URL", server.url()), names)
    folder = write_tree(tmp_path / "in", {"Dockerfile": f"FROM scratch\n{text}\n"})
    found = await build(addr, folder, {})
    assert set(contents(found)) == expected
    assert f"[1/1] {text}" in found.steps


@pytest.mark.parametrize(
    ("fragment", "attrs", "expected"),
    [
        ("", {}, {"a", "c"}),
        ("#main:sub", {}, {"b"}),
        ("", {"filename": "sub/Dockerfile", "contextsubdir": "sub"}, {"b"}),
    ],
)
async def test_a_context(
    addr: str, server: GitServer, names: Names, fragment: str, attrs: Mapping[str, str], expected: set[str]
) -> None:
    need(addr, "modern-git")
    url = server.url() + fragment
    found = await build(addr, None, {"context": url, **attrs})
    assert set(contents(found)) == expected
    assert f"[internal] load git source {url}" in found.steps


async def test_a_named_context(addr: str, server: GitServer, names: Names, tmp_path: Path) -> None:
    need(addr, "named-contexts")
    text = "FROM scratch\nCOPY --from=base sub /\nCOPY --from=base a /again\n"
    folder = write_tree(tmp_path / "in", {"Dockerfile": text})
    url = server.url() + "#heavy"
    found = await build(addr, folder, {"context:base": url})
    assert contents(found) == {"b": FILES["sub/b"], "again": FILES["a"]}
    assert f"[internal] load git source {url}" in found.steps


async def test_git_says_what_it_does(addr: str, server: GitServer, names: Names) -> None:
    """What git writes is the step's output."""
    status: Chan[buildkit.SolveStatus] = Chan(1000)
    async with await buildkit.new(BG, addr) as client:
        await client.solve(BG, await llb.git(server.url(), "main").marshal(BG), SolveOpt(), status)
    logs = [(log.stream, log.data.decode()) async for message in status for log in message.logs]
    assert f"{names['main']}\trefs/heads/main\n" in "".join(text for stream, text in logs if stream == 1)
    assert f"From {server.url().removesuffix('.git')}\n" in "".join(text for stream, text in logs if stream == 2)
