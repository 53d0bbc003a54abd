"""Paths of the target's operating system. The tables are those of path_test.go."""

from __future__ import annotations

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.util import system


@pytest.mark.parametrize(
    ("current", "new", "os", "result"),
    [
        ("", "test", "linux", "/test"),
        ("", "/test", "linux", "/test"),
        ("/test", "subdir", "linux", "/test/subdir"),
        ("/test", "../subdir", "linux", "/subdir"),
        ("/test", "/current", "linux", "/current"),
        ("test", "current", "linux", "/test/current"),
        ("test", "", "linux", "/test"),
        ("/test", "", "", "/test"),
        ("", "test", "windows", r"\test"),
        ("", r"C:\withDriveLetter", "windows", r"\withDriveLetter"),
        ("", r"C:/first\second/third", "windows", r"\first\second\third"),
        (r"testing\with/mixed", "newTesting", "windows", r"\testing\with\mixed\newTesting"),
        (r"C:\testing", "", "windows", r"\testing"),
        ("/test", "C:testing", "windows", r"\test\testing"),
        (r"C:\..\test\..", "", "windows", "\\"),
    ],
)
def test_normalize_workdir(current: str, new: str, os: str, result: str) -> None:
    assert system.normalize_workdir(current, new, os) == result


@pytest.mark.parametrize(
    ("current", "new", "text"),
    [
        (r"D:\bad", "x", "The specified path is not on the system drive (C:)"),
        ("C:", "x", 'No relative path specified in "C:"'),
        ("/test", r"\\server\share", "UNC paths are not supported"),
    ],
)
def test_paths_that_windows_cannot_have_there(current: str, new: str, text: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        system.normalize_workdir(current, new, "windows")
    assert str(caught.value) == f"normalizing working directory: removing drive letter: {text}"


@pytest.mark.parametrize(
    ("path", "keep_slash", "result"),
    [
        ("z", False, "z"),
        (r"\l", False, "/l"),
        ("c:\\", False, "/"),
        ("\\a\\b\\..\\c\\", True, "/a/c/"),
        ("\\a\\b\\..\\c\\", False, "/a/c"),
    ],
)
def test_drive_letters(path: str, keep_slash: bool, result: str) -> None:
    assert system.check_system_drive_and_remove_drive_letter(path, "windows", keep_slash) == result
    assert system.check_system_drive_and_remove_drive_letter(path, "linux", keep_slash) == path


def test_is_abs() -> None:
    absolute = {r"C:\test": True, r"C:test": False, "C:/test": True, r"\test": True, "/test": True, "test": False}
    assert {path: system.is_abs(path, "windows") for path in absolute} == absolute


def test_clean_and_join_are_those_of_go() -> None:
    assert [system.clean(path) for path in ("", "//a", "/..", "a/../..", "./a/")] == [".", "/a", "/", "..", "a"]
    assert [system.join("", ""), system.join("/", "..", "a"), system.join("", "a")] == ["", "/a", "a"]
    assert system.default_path_env("windows").startswith("c:")
    assert system.default_path_env("linux").startswith("/usr/local/sbin")
