"""URLs as Go reads them: parts and error texts."""

from __future__ import annotations

import pytest

from pybuildkit.golang import url


@pytest.mark.parametrize(
    ("text", "scheme", "host", "path", "query"),
    [
        ("unix:///run/x.sock", "unix", "", "/run/x.sock", ""),
        ("UNIX:///x", "unix", "", "/x", ""),
        ("tcp://host:1234", "tcp", "host:1234", "", ""),
        ("kube-pod://pod?container=c&namespace=n", "kube-pod", "pod", "", "container=c&namespace=n"),
        ("ssh://me@host:22/run/sock", "ssh", "host:22", "/run/sock", ""),
        ("tcp://[::1]:99", "tcp", "[::1]:99", "", ""),
        ("/plain/path", "", "", "/plain/path", ""),
        ("name", "", "", "name", ""),
        ("", "", "", "", ""),
        ("unix:///a%20b", "unix", "", "/a b", ""),
    ],
)
def test_parts(text: str, scheme: str, host: str, path: str, query: str) -> None:
    parsed = url.parse(text)
    assert (parsed.scheme, parsed.host, parsed.path, parsed.raw_query) == (scheme, host, path, query)


def test_user_and_port() -> None:
    parsed = url.parse("ssh://me:secret@host:22")
    assert (parsed.user, parsed.password, parsed.hostname(), parsed.port()) == ("me", "secret", "host", "22")
    assert url.parse("tcp://[::1]:99").hostname() == "::1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1:1", 'parse "127.0.0.1:1": first path segment in URL cannot contain colon'),
        ("%zz", 'parse "%zz": invalid URL escape "%zz"'),
        ("unix://%zz", 'parse "unix://%zz": invalid URL escape "%zz"'),
        ("tcp://a b", 'parse "tcp://a b": invalid character " " in host name'),
        (":x", 'parse ":x": missing protocol scheme'),
        ("tcp://host:port", 'parse "tcp://host:port": invalid port ":port" after host'),
        ("a\x01b", 'parse "a\\x01b": net/url: invalid control character in URL'),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(url.URLError) as caught:
        url.parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["plain", "with space", "a+b&c=d", "é/ü", "100%", "~-_."])
def test_query_escape_round_trip(text: str) -> None:
    assert url.query_unescape(url.query_escape(text)) == text


def test_query() -> None:
    assert url.parse("x://h?a=1&a=2&b=%20&bad=%z").query() == {"a": ["1", "2"], "b": [" "]}
