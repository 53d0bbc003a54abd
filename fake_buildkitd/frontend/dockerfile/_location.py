"""Where in a Dockerfile an error is.

Mirrors frontend/dockerfile/parser/errors.go, v0.32.2.
"""

from __future__ import annotations

from typing import NamedTuple

from pybuildkit.golang.errors import BuildkitError, error_text, find


class Range(NamedTuple):
    """Lines of a Dockerfile, counted from 1; both ends belong to it."""

    start: int
    end: int


class LocationError(BuildkitError):
    """An error with the places in the source that it is about; its text is its cause's."""

    def __init__(self, cause: BaseException, locations: list[list[Range]]) -> None:
        super().__init__(cause)
        self.locations = locations
        self.__cause__ = cause

    def __str__(self) -> str:
        return error_text(self.__cause__) if self.__cause__ is not None else ""


def to_ranges(start: int, end: int) -> list[Range]:
    """One range for each line from `start` to `end`."""
    return [Range(line, line) for line in range(start, max(start, end) + 1)]


def with_location(err: BuildkitError, location: list[Range]) -> BuildkitError:
    """The error with one more place; an error that has places already keeps its own shape."""
    located = find(err, LocationError)
    if located is None:
        return LocationError(err, [location])
    located.locations.append(location)
    return err


def set_location(err: BuildkitError, location: list[Range]) -> BuildkitError:
    """The error with this place only."""
    located = find(err, LocationError)
    if located is None:
        return LocationError(err, [location])
    located.locations = [location]
    return err
