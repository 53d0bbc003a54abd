"""Which proxy the environment names for a host."""

from __future__ import annotations

import pytest

from pybuildkit.golang.httpproxy import ProxyError, proxy_for


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("http://proxy:3128", ("http", "proxy", "3128", "")),
        ("https://u:p%20w@proxy", ("https", "proxy", "", "u")),
        ("proxy:3128", ("http", "proxy", "3128", "")),
        ("u:p@proxy:3128", ("http", "proxy", "3128", "u")),
        ("proxy", ("http", "proxy", "", "")),
        ("socks5://proxy:1", ("socks5", "proxy", "1", "")),
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_addresses(value: str, found: tuple[str, str, str, str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    proxy = proxy_for("https", "host.example", "")
    assert proxy is not None
    assert (proxy.scheme, proxy.hostname(), proxy.port(), proxy.user) == found
    assert proxy_for("http", "host.example", "") is None


@pytest.mark.parametrize("value", ["http://u:planted@%zz", "http://u:plan%zzted@proxy", "http://u:planted@[::1"])
def test_what_is_no_address(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(ProxyError, match=r'^invalid proxy address "http://u:xxxxx@') as caught:
        proxy_for("http", "host.example", "")
    assert "planted" not in str(caught.value)


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http:///path")
    with pytest.raises(ProxyError, match=r'^invalid proxy address "http:///path": no host$'):
        proxy_for("http", "host.example", "")


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "direct"),
    [
        ("host.example", "host.example", "", True),
        ("host.example", "sub.host.example", "", True),
        ("host.example", "otherhost.example", "", False),
        (".example", "host.example", "", True),
        ("*.example", "host.example", "", True),
        (".host.example", "host.example", "", False),
        ("HOST.example", "Host.Example", "", True),
        ("x, host.example ,y", "host.example", "", True),
        ("host.example:80", "host.example", "", True),
        ("host.example:80", "host.example", "80", True),
        ("host.example:80", "host.example", "81", False),
        ("*", "host.example", "", True),
        ("192.0.2.0/24", "192.0.2.7", "", True),
        ("192.0.2.0/24", "192.0.3.7", "", False),
        ("192.0.2.0/99", "192.0.2.7", "", False),
        ("192.0.2.0/24", "host.example", "", False),
        ("2001:db8::1", "2001:db8::1", "", True),
        ("", "host.example", "", False),
        ("", "localhost", "", True),
        ("", "127.0.0.9", "", True),
        ("", "::1", "", True),
        ("", "a.localhost", "", False),
    ],
)
def test_exceptions(no_proxy: str, host: str, port: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (proxy_for("http", host, port) is None) == direct
