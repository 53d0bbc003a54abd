"""The Dockerfile checks and which of them are on.

Mirrors frontend/dockerfile/linter (linter.go, ruleset.go), v0.32.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fake_buildkitd.frontend.dockerfile._location import Range
from fake_buildkitd.frontend.dockerfile._parser import DirectiveParser
from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import parse_bool, quote


class LintError(BuildkitError):
    """Check options that cannot be read, or violations where they count as errors."""


@dataclass(frozen=True)
class Rule:
    """One check: its name, what it asks for, and the last part of its page's address ("" for no page)."""

    name: str
    description: str
    page: str
    experimental: bool = False

    @property
    def url(self) -> str:
        """The page that explains the check."""
        return f"https://docs.docker.com/go/dockerfile/rule/{self.page}/" if self.page else ""


STAGE_NAME_CASING = Rule("StageNameCasing", "Stage names should be lowercase", "stage-name-casing")
FROM_AS_CASING = Rule("FromAsCasing", "The 'as' keyword should match the case of the 'from' keyword", "from-as-casing")
NO_EMPTY_CONTINUATION = Rule(
    "NoEmptyContinuation",
    "Empty continuation lines will become errors in a future release",
    "no-empty-continuation",
)
CONSISTENT_INSTRUCTION_CASING = Rule(
    "ConsistentInstructionCasing",
    "All commands within the Dockerfile should use the same casing (either upper or lower)",
    "consistent-instruction-casing",
)
DUPLICATE_STAGE_NAME = Rule("DuplicateStageName", "Stage names should be unique", "duplicate-stage-name")
RESERVED_STAGE_NAME = Rule(
    "ReservedStageName", "Reserved words should not be used as stage names", "reserved-stage-name"
)
JSON_ARGS_RECOMMENDED = Rule(
    "JSONArgsRecommended",
    "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    "json-args-recommended",
)
MAINTAINER_DEPRECATED = Rule(
    "MaintainerDeprecated",
    "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    "maintainer-deprecated",
)
UNDEFINED_ARG_IN_FROM = Rule("UndefinedArgInFrom", "FROM command must use declared ARGs", "undefined-arg-in-from")
WORKDIR_RELATIVE_PATH = Rule(
    "WorkdirRelativePath",
    "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base "
    "image changes",
    "workdir-relative-path",
)
UNDEFINED_VAR = Rule("UndefinedVar", "Variables should be defined before their use", "undefined-var")
MULTIPLE_INSTRUCTIONS_DISALLOWED = Rule(
    "MultipleInstructionsDisallowed",
    "Multiple instructions of the same type should not be used in the same stage",
    "multiple-instructions-disallowed",
)
LEGACY_KEY_VALUE_FORMAT = Rule(
    "LegacyKeyValueFormat",
    "Legacy key/value format with whitespace separator should not be used",
    "legacy-key-value-format",
)
INVALID_BASE_IMAGE_PLATFORM = Rule(
    "InvalidBaseImagePlatform", "Base image platform does not match expected target platform", ""
)
REDUNDANT_TARGET_PLATFORM = Rule(
    "RedundantTargetPlatform",
    "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    "redundant-target-platform",
)
SECRETS_USED_IN_ARG_OR_ENV = Rule(
    "SecretsUsedInArgOrEnv",
    "Sensitive data should not be used in the ARG or ENV commands",
    "secrets-used-in-arg-or-env",
)
INVALID_DEFAULT_ARG_IN_FROM = Rule(
    "InvalidDefaultArgInFrom",
    "Default value for global ARG results in an empty or invalid base image name",
    "invalid-default-arg-in-from",
)
FROM_PLATFORM_FLAG_CONST_DISALLOWED = Rule(
    "FromPlatformFlagConstDisallowed",
    "FROM --platform flag should not use a constant value",
    "from-platform-flag-const-disallowed",
)
COPY_IGNORED_FILE = Rule(
    "CopyIgnoredFile", "Attempting to Copy file that is excluded by .dockerignore", "copy-ignored-file"
)
INVALID_DEFINITION_DESCRIPTION = Rule(
    "InvalidDefinitionDescription",
    "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is "
    "not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
    "invalid-definition-description",
    experimental=True,
)
EXPOSE_PROTO_CASING = Rule(
    "ExposeProtoCasing", "Protocol in EXPOSE instruction should be lowercase", "expose-proto-casing"
)
EXPOSE_INVALID_FORMAT = Rule(
    "ExposeInvalidFormat",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a "
    "future release",
    "expose-invalid-format",
)

Warn = Callable[[Rule, str, Sequence[Range]], None]


@dataclass(frozen=True)
class LintConfig:
    """Which checks run, and whether a violation fails the build."""

    experimental_all: bool = False
    experimental: frozenset[str] = frozenset()
    skip_all: bool = False
    skip: frozenset[str] = frozenset()
    error: bool = False


@dataclass(frozen=True)
class Linter:
    """Runs checks: reports violations of those that are on, and remembers them."""

    config: LintConfig = LintConfig()
    warn: Warn | None = None
    called: list[str] = field(default_factory=list)

    def run(self, rule: Rule, location: Sequence[Range], message: str) -> None:
        """Report a violation, unless the check is off."""
        if self.warn is None:
            return
        if rule.experimental:
            if not self.config.experimental_all and rule.name not in self.config.experimental:
                return
        elif self.config.skip_all or rule.name in self.config.skip:
            return
        self.called.append(rule.name)
        self.warn(rule, message, location)

    def with_comments(self, comments: Sequence[str]) -> Linter:
        """The linter for an instruction with a `# check=…` comment above it."""
        for comment in comments:
            directive = DirectiveParser("").parse_line(comment)
            if directive is None or directive.name != "check":
                continue
            try:
                other = parse_lint_options(directive.value.partition(" ")[0])
            except BuildkitError:
                return self
            config = replace(
                self.config,
                experimental_all=self.config.experimental_all or other.experimental_all,
                experimental=self.config.experimental | other.experimental,
                skip_all=self.config.skip_all or other.skip_all,
                skip=self.config.skip | other.skip,
            )
            return replace(self, config=config)
        return self

    def check(self) -> None:
        """Fail where violations count as errors.

        Raises:
            LintError: names the violated rules.
        """
        if self.config.error and self.called:
            names = ", ".join(dict.fromkeys(self.called))
            raise LintError(f"lint violation found for rules: {names}")


def parse_lint_options(text: str) -> LintConfig:
    """Read `skip=A,B;experimental=all;error=true`.

    Raises:
        LintError: an unknown option or one without a value.
    """
    config = LintConfig()
    if not text.strip():
        return config
    for part in text.strip().split(";", 2):
        key, equals, value = part.partition("=")
        if not equals:
            raise LintError(f"invalid check option {quote(part)}")
        key, value = key.strip(), value.strip()
        names = frozenset(name.strip() for name in value.split(","))
        if key == "skip":
            config = replace(config, skip_all=True) if value == "all" else replace(config, skip=names)
        elif key == "experimental":
            everything = value == "all"
            config = replace(config, experimental_all=True) if everything else replace(config, experimental=names)
        elif key == "error":
            try:
                config = replace(config, error=parse_bool(value))
            except BuildkitError as err:
                raise wrap(err, f"failed to parse check option {quote(part)}") from err
        else:
            raise LintError(f"invalid check option {quote(key)}")
    return config


def format_short(name: str, message: str, line: int) -> str:
    """How a violation is shown: `NAME: MESSAGE (line N)`."""
    return f"{name}: {message} (line {line})" if line > 0 else f"{name}: {message}"
