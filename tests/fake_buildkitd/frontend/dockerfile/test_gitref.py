"""Addresses of git repositories: TestParseGitRef of BuildKit's own tests, and the state that a context becomes."""

from __future__ import annotations

import pytest

from fake_buildkitd.frontend.dockerfile._gitref import GitRef, GitRefError, git_context, parse_git_ref
from pybuildkit.golang import context
from pybuildkit.solver.pb import ops_pb2

MOBY = "https://github.com/moby/buildkit.git"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.com/", None),
        ("https://example.com/foo", None),
        ("https://example.com/foo.git", GitRef("https://example.com/foo.git")),
        ("https://example.com/foo.git#deadbeef", GitRef("https://example.com/foo.git", ref="deadbeef")),
        ("https://example.com/foo.git#release/1.2", GitRef("https://example.com/foo.git", ref="release/1.2")),
        ("https://example.com/foo.git/", None),
        ("https://example.com/foo.git.bar", None),
        ("git://example.com/foo", GitRef("git://example.com/foo")),
        ("github.com/moby/buildkit", GitRef("github.com/moby/buildkit", local=True)),
        ("github.com/moby/buildkit#master", GitRef("github.com/moby/buildkit", ref="master", local=True)),
        ("github.com/moby/buildkit?tag=v1", GitRef("github.com/moby/buildkit", ref="refs/tags/v1", local=True)),
        ("custom.xyz/moby/buildkit.git", None),
        ("https://github.com/moby/buildkit", None),
        (MOBY, GitRef(MOBY)),
        ("https://foo:bar@github.com/moby/buildkit.git", GitRef("https://foo:bar@github.com/moby/buildkit.git")),
        ("git@github.com:moby/buildkit", GitRef("git@github.com:moby/buildkit")),
        ("git@github.com:moby/buildkit.git", GitRef("git@github.com:moby/buildkit.git")),
        (f"{MOBY}#baz/qux:quux/quuz", GitRef(MOBY, ref="baz/qux", sub_dir="quux/quuz")),
        ("http://github.com/docker/docker.git:#branch", None),
        (f"{MOBY}#:myfolder", GitRef(MOBY, sub_dir="myfolder")),
        ("./.git", None),
        (".git", None),
        ("", None),
        (f"{MOBY}?ref=v1.0.0&subdir=/subdir", GitRef(MOBY, ref="v1.0.0", sub_dir="/subdir")),
        (f"{MOBY}?subdir=/subdir#v1.0.0", GitRef(MOBY, ref="v1.0.0", sub_dir="/subdir")),
        (f"{MOBY}?tag=v1.0.0", GitRef(MOBY, ref="refs/tags/v1.0.0")),
        (f"{MOBY}?tag=refs/tags/v1.0.0", GitRef(MOBY, ref="refs/tags/v1.0.0")),
        (f"{MOBY}?branch=v1.0", GitRef(MOBY, ref="refs/heads/v1.0")),
        (
            "git@github.com:moby/buildkit.git?subdir=/subdir#v1.0.0",
            GitRef("git@github.com:moby/buildkit.git", ref="v1.0.0", sub_dir="/subdir"),
        ),
        (f"{MOBY}?mtime=commit", GitRef(MOBY, mtime="commit")),
        (f"{MOBY}?mtime=checkout", GitRef(MOBY, mtime="checkout")),
        (
            f"{MOBY}?fetch-by-commit=true&checksum=deadbeef#refs/heads/branch",
            GitRef(MOBY, ref="refs/heads/branch", checksum="deadbeef", fetch_by_commit=True),
        ),
        (f"{MOBY}?fetch-by-commit&commit=dead", GitRef(MOBY, checksum="dead", fetch_by_commit=True)),
        (f"{MOBY}?fetch-by-commit=false", GitRef(MOBY)),
        (f"{MOBY}?submodules=0&keep-git-dir", GitRef(MOBY, submodules=False, keep_git_dir=True)),
    ],
)
def test_parse_git_ref(text: str, expected: GitRef | None) -> None:
    assert parse_git_ref(text) == expected


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("ref=v1.0.0#v1.2.3", "ref conflicts: "),
        ("ref=v1.0.0&tag=v1.2.3", 'ref conflicts: "v1.0.0" vs "refs/tags/v1.2.3"'),
        ("subdir=a#:b", 'subdir conflicts: "b" vs "a"'),
        ("tag=v1.0.0&branch=v1.0", "branch conflicts with tag"),
        ("mtime=invalid", 'invalid mtime value: "invalid" (must be "checkout" or "commit")'),
        ("fetch-by-commit=invalid", 'invalid fetch-by-commit value: "invalid"'),
        ("submodules=x", 'invalid submodules value: "x"'),
        ("keep-git-dir=x", 'invalid keep-git-dir value: "x"'),
        ("invalid=123", 'unexpected query "invalid"'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("ref=", 'query "ref" has no value'),
    ],
)
def test_addresses_that_cannot_be(query: str, error: str) -> None:
    with pytest.raises(GitRefError) as caught:
        parse_git_ref(f"{MOBY}?{query}")
    assert str(caught.value).startswith(error)


async def test_a_context() -> None:
    text = f"{MOBY}?keep-git-dir&submodules=false&mtime=commit&checksum=0123#main:sub"
    state = git_context(text)
    assert state is not None
    definition = (await state.marshal(context.background())).to_pb()
    source = ops_pb2.Op.FromString(getattr(definition, "def")[0]).source
    assert source.identifier == "git://github.com/moby/buildkit.git#main:sub"
    expected = {
        "git.fullurl": MOBY,
        "git.keepgitdir": "true",
        "git.checksum": "0123",
        "git.skipsubmodules": "true",
        "git.mtime": "commit",
    }
    assert expected.items() <= dict(source.attrs).items()
    assert git_context("https://example.com/x") is None
