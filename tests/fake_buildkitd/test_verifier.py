"""Warnings of results that are not for the platforms that were asked for."""

from __future__ import annotations

import json

import pytest

from fake_buildkitd.verifier import check_platforms
from pybuildkit.third_party import platforms

_OWN = platforms.format(platforms.default_spec())
_OTHER = "linux/s390x"


def _metadata(*names: str) -> dict[str, bytes]:
    made = [
        {
            "ID": name,
            "Platform": dict(zip(("os", "architecture", "variant", "os.version"), name.split("/"), strict=False)),
        }
        for name in names
    ]
    return {"refs.platforms": json.dumps({"Platforms": made}).encode()}


@pytest.mark.parametrize(
    ("asked", "made", "is_map", "said"),
    [
        (None, [_OWN], False, []),
        (None, [_OTHER], False, [f'Requested platform "{_OWN}" does not match result platform "{_OTHER}"']),
        ("linux/arm64", ["linux/arm64"], False, []),
        ("linux/arm64/v8", ["linux/arm64"], False, []),
        ("windows/amd64", ["windows/amd64//10.0.1"], False, []),
        ("windows(10.0.1)/amd64", ["windows/amd64//10.0.1"], False, []),
        (
            "windows(10.0.1)/amd64",
            ["windows/amd64//10.0.2"],
            False,
            ['Requested platform "windows(10.0.1)/amd64" does not match result platform "windows(10.0.2)/amd64"'],
        ),
        (
            "linux/amd64,linux/arm64",
            ["linux/amd64"],
            False,
            ["Multiple platforms requested but result is not multi-platform"],
        ),
        ("linux/amd64,linux/arm64", ["linux/arm64", "linux/amd64"], True, []),
        (
            "linux/amd64,linux/arm64",
            ["linux/arm64", _OTHER],
            True,
            [f"Requested platforms linux/amd64,linux/arm64 do not match result platforms linux/arm64,{_OTHER}"],
        ),
        ("linux/x86_64,linux/amd64", ["linux/amd64"], True, ['Duplicate platform result requested "linux/amd64"']),
    ],
)
def test_platforms(asked: str | None, made: list[str], is_map: bool, said: list[str]) -> None:
    opts = {} if asked is None else {"platform": asked}
    assert check_platforms(opts, _metadata(*made), is_map) == said


def test_results_without_platforms_are_not_judged() -> None:
    assert check_platforms({"platform": "foo/bar"}, {}, False) == []
