"""Checks of a Dockerfile as a whole, and of names in it.

Mirrors frontend/dockerfile/dockerfile2llb/validations.go, v0.32.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from fake_buildkitd.frontend.dockerfile import _linter as rules
from fake_buildkitd.frontend.dockerfile._commands import Arg, Command, Stage
from fake_buildkitd.frontend.dockerfile._linter import Linter
from fake_buildkitd.frontend.dockerfile._location import Range, with_location
from fake_buildkitd.frontend.dockerfile._shell import Expansion
from fake_buildkitd.frontend.dockerfile._state import ConvertError, StageState
from fake_buildkitd.frontend.dockerfile._text import clean, search
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.strconv import quote
from pybuildkit.third_party import platforms
from pybuildkit.third_party.patternmatcher import PatternMatcher
from pybuildkit.third_party.platforms import Platform

NON_ENV_ARGS = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


def check_stage_names(stages: Sequence[Stage], lint: Linter) -> None:
    """Report reserved names and names given twice."""
    seen: set[str] = set()
    for stage in stages:
        if not stage.name:
            continue
        if stage.name in ("context", "scratch"):
            message = f"Stage name should not use the same name as reserved stage {quote(stage.name)}"
            lint.run(rules.RESERVED_STAGE_NAME, stage.location, message)
        if stage.name in seen:
            message = f"Duplicate stage name {quote(stage.name)}, stage names should be unique"
            lint.run(rules.DUPLICATE_STAGE_NAME, stage.location, message)
        seen.add(stage.name)


def check_casing(stages: Sequence[Stage], lint: Linter) -> None:
    """Report instructions that are not written as most of them are, in upper or lower case."""
    words: list[tuple[str, list[Range]]] = []
    for stage in stages:
        words.append((stage.orig_cmd, stage.location))
        words += [(command.name, command.location) for command in stage.commands]
    lower = sum(word == word.lower() for word, _ in words)
    upper = sum(word == word.upper() for word, _ in words)
    majority_lower = lower > upper
    for word, location in words:
        if word != (word.lower() if majority_lower else word.upper()):
            casing = "lowercase" if majority_lower else "uppercase"
            message = f"Command '{word}' should match the case of the command majority ({casing})"
            lint.run(rules.CONSISTENT_INSTRUCTION_CASING, location, message)


def check_cycles(states: Sequence[StageState]) -> None:
    """Refuse stages that need each other.

    Raises:
        LocationError: "circular dependency detected on stage: NAME", with the instructions of the circle.
    """
    visited: set[StageState] = set()
    path: set[StageState] = set()

    def visit(state: StageState, commands: list[Command]) -> list[Command] | None:
        if state in visited:
            return None
        visited.add(state)
        path.add(state)
        for needed, command in state.deps.items():
            if needed in path:
                return [*commands, command]
            found = visit(needed, [*commands, command])
            if found is not None:
                return found
        path.discard(state)
        return None

    for state in states:
        circle = visit(state, [])
        if circle is not None:
            err: BuildkitError = ConvertError(f"circular dependency detected on stage: {state.name}")
            for command in circle:
                err = with_location(err, command.location)
            raise err


def report_unused_from_args(known: Iterable[str], unmatched: set[str], location: list[Range], lint: Linter) -> None:
    """Report variables of a FROM that nobody declared."""
    names = list(known)
    for name in sorted(unmatched - set(names)):
        message = f"FROM argument '{name}' is not declared"
        match = search(name, names, True)
        if match:
            message += f" (did you mean {match}?)"
        lint.run(rules.UNDEFINED_ARG_IN_FROM, location, message)


def report_platform(
    stage: Stage, expansion: Expansion, env: Mapping[str, str], location: list[Range], lint: Linter
) -> None:
    """Report a `--platform` that says nothing new, or that is always the same."""
    only_target = expansion.matched == {"TARGETPLATFORM"} and not expansion.unmatched
    if only_target and expansion.result == env.get("TARGETPLATFORM"):
        message = (
            f"Setting platform to predefined {stage.platform} in FROM is redundant as this is the default behavior"
        )
        lint.run(rules.REDUNDANT_TARGET_PLATFORM, location, message)
    if expansion.matched or expansion.unmatched:
        return
    try:
        platform = platforms.parse(expansion.result)
    except BuildkitError:
        return
    if platform.os in stage.name or platform.architecture in stage.name:
        return
    message = f"FROM --platform flag should not use constant value {quote(expansion.result)}"
    lint.run(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, location, message)


def report_unmatched(
    location: list[Range], args: Sequence[Arg], env: Mapping[str, str], unmatched: AbstractSet[str], lint: Linter
) -> None:
    """Report variables that are used and not defined."""
    for name in sorted(unmatched - {arg.key for arg in args} - NON_ENV_ARGS):
        message = f"Usage of undefined variable '${name}'"
        match = search(name, env, True)
        if match:
            message += f" (did you mean ${match}?)"
        lint.run(rules.UNDEFINED_VAR, location, message)


def report_secret(instruction: str, key: str, location: list[Range], lint: Linter) -> None:
    """Report names that sound like a secret's."""
    if _SECRET.search(key) and not _NO_SECRET.search(key):
        message = f"Do not use ARG or ENV instructions for sensitive data ({instruction} {quote(key)})"
        lint.run(rules.SECRETS_USED_IN_ARG_OR_ENV, location, message)


def report_used_twice(state: StageState, kind: str, command: Command, lint: Linter) -> None:
    """Report an earlier instruction of a kind of which only the last counts."""
    before = state.used_once.get(kind)
    if before is not None:
        message = (
            f"Multiple {command.name} instructions should not be used in the same stage because only the last one "
            "will be used"
        )
        lint.run(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, before, message)
    state.used_once[kind] = command.location


def report_ignored(
    source: str, is_add: bool, matcher: PatternMatcher | None, location: list[Range], lint: Linter
) -> None:
    """Report a source that the ignore file leaves out."""
    if matcher is None or matcher.exclusions():
        return
    source = clean(source)
    if source in (".", "/") and not _everything_ignored(matcher):
        return
    if matcher.matches_or_parent_matches(source):
        action = "Add" if is_add else "Copy"
        message = f"Attempting to {action} file {quote(source)} that is excluded by .dockerignore"
        lint.run(rules.COPY_IGNORED_FILE, location, message)


def _everything_ignored(matcher: PatternMatcher) -> bool:
    return any(not pattern.exclusion() and str(pattern) in ("*", "**", "**/*") for pattern in matcher.patterns())


def report_base_platform(
    name: str, expected: Platform, actual: Platform, location: Sequence[Range], lint: Linter
) -> None:
    """Report a base image that is for another platform."""
    if (expected.os, expected.architecture) != (actual.os, actual.architecture):
        wanted = quote(platforms.format_all(platforms.normalize(expected)))
        found = quote(platforms.format_all(platforms.normalize(actual)))
        message = f"Base image {name} was pulled with platform {found}, expected {wanted} for current build"
        lint.run(rules.INVALID_BASE_IMAGE_PLATFORM, location, message)
