"""Platforms; names from containerd/platforms' own tests where one is ported."""

import copy
import pickle

import pytest

from pybuildkit.third_party import platforms
from pybuildkit.third_party.platforms import Platform

HOST = Platform(os="linux", architecture="amd64")

PARSE = [
    ("linux/arm64/v8", Platform("linux", "arm64", "v8"), "linux/arm64/v8", "linux/arm64"),
    ("linux/arm/7", Platform("linux", "arm", "v7"), "linux/arm/v7", "linux/arm/v7"),
    ("linux/arm", Platform("linux", "arm"), "linux/arm", "linux/arm/v7"),
    ("macos/aarch64", Platform("darwin", "arm64"), "darwin/arm64", "darwin/arm64"),
    ("i386", Platform("linux", "386"), "linux/386", "linux/386"),
    ("freebsd", Platform("freebsd", "amd64"), "freebsd/amd64", "freebsd/amd64"),
    ("linux/x86-64/v1", Platform("linux", "amd64"), "linux/amd64", "linux/amd64"),
    ("linux/arm64/9", Platform("linux", "arm64", "v9"), "linux/arm64/v9", "linux/arm64/v9"),
    (
        "windows(10.0%2B1+b+a+a)/amd64",
        Platform("windows", "amd64", "", "10.0+1", ("b", "a", "a")),
        "windows(10.0%2B1+a+b)/amd64",
        "windows/amd64",
    ),
]


@pytest.mark.parametrize(("text", "parsed", "formatted", "normalized"), PARSE)
def test_parse_selector(text: str, parsed: Platform, formatted: str, normalized: str) -> None:
    got = platforms.parse(text, HOST)
    assert got == parsed
    assert platforms.format_all(got) == formatted
    assert platforms.format(platforms.normalize(got)) == normalized


@pytest.mark.parametrize(
    "text",
    ["", "/", "linux/", "linux//v8", "*", "linux/*", "a/b/c/d", "linux/amd64 ", "linux/amd64\n", "(1)/x", "os(%zz)/x"],
)
def test_parse_selector_invalid(text: str) -> None:
    with pytest.raises(platforms.PlatformError):
        platforms.parse(text, HOST)


def test_a_lone_arm_host_keeps_its_variant() -> None:
    assert platforms.parse("linux", Platform("linux", "arm", "v6")).variant == "v6"
    assert platforms.parse("linux", Platform("linux", "arm", "v7")).variant == ""


def test_default_spec_is_this_machine() -> None:
    here = platforms.default_spec()
    assert platforms.parse(here.os).architecture == here.architecture
    assert platforms.format(Platform()) == "unknown"


def test_a_platform_is_a_value() -> None:
    one, other = Platform("linux", "amd64", os_features=["a"]), Platform("linux", "amd64", os_features=("a",))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Platform("linux", "arm64")
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    with pytest.raises(AttributeError):
        one.os = "windows"
