"""Git addresses; the vectors `refs` hold more. Names from util/gitutil and util/sshutil where one is ported."""

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.util import gitutil, sshutil


@pytest.mark.parametrize(
    ("text", "remote", "user", "opts"),
    [
        ("https://h/p", "https://h/p", "", None),
        ("https://h/p?x=1#r", "https://h/p", "", ("r", "")),
        ("https://h/p?#r:d/../e", "https://h/p?", "", ("r", "e")),
        ("ssh://git@h:22/p.git#:sub", "ssh://git@h:22/p.git", "git", ("", "sub")),
        ("HTTP://u%40x:p%2Fw@H/a%20b", "http://u%40x:p%2Fw@H/a%20b", "u%40x:p%2Fw", None),
        ("git@h:a/b?ref=x#r:s", "git@h:a/b", "git", ("r", "s")),
        ("https://h/\u00e9 b", "https://h/%C3%A9%20b", "", None),
        ("https://h/a[1]", "https://h/a[1]", "", None),
        ("https://h", "https://h", "", None),
        ("https://h/p#r:/../../x", "https://h/p", "", ("r", "x")),
    ],
)
def test_parse_url(text: str, remote: str, user: str, opts: tuple[str, str] | None) -> None:
    url = gitutil.parse_url(text)
    assert (url.remote, url.user) == (remote, user)
    assert ((url.opts.ref, url.opts.subdir) if url.opts else None) == opts


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("ftp://h/p", "ftp: invalid protocol"),
        ("h/p", "unknown protocol"),
        ("https://h:x/p#frag", 'parse "https://h:x/p": invalid port ":x" after host'),
        ("https://h/p#%zz", 'parse "https://h/p#%zz": invalid URL escape "%zz"'),
        ("https://[1.2.3.4]/p", 'parse "https://[1.2.3.4]/p": invalid IP-literal'),
        ("https://[::1/p", "parse \"https://[::1/p\": missing ']' in host"),
        ("a@b", "unknown protocol"),
        ("git@h:p?a=%zz", "unknown protocol"),
        ("https://h /p", 'parse "https://h /p": invalid character " " in host name'),
    ],
)
def test_parse_url_errors(text: str, error: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        gitutil.parse_url(text)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "is_git"),
    [("https://x/y", True), ("git@x:y", True), ("ftp://x/y", False), ("x/y", False), ("SSH://x", True)],
)
def test_is_git_transport(text: str, is_git: bool) -> None:
    assert gitutil.is_git_transport(text) is is_git


def test_is_implicit_ssh_transport() -> None:
    table = {
        "git@github.com:moby/buildkit.git": True,
        "a_b-c@h.x:~u/r": True,
        "a.b@h:x": False,
        "git@h_x:y": False,
        "git@h:": True,
        "git@h": False,
        "git@h:a\nb": False,
    }
    assert {text: sshutil.is_implicit_ssh_transport(text) for text in table} == table
