"""Whether a rule's selector is about a source.

Mirrors sourcepolicy/matcher.go, v0.32.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pybuildkit.golang.strconv import quote
from pybuildkit.sourcepolicy._formatter import SelectorCache, SourcePolicyError, compile_regexp, match_type_name
from pybuildkit.sourcepolicy.pb import policy_pb2


def match(
    selector: SelectorCache,
    ref: str,
    constraints: Sequence[policy_pb2.AttrConstraint],
    attrs: Mapping[str, str],
) -> bool:
    """Whether the selector takes the source: its attributes meet all constraints, and its identifier fits.

    Raises:
        SourcePolicyError: an expression is none, or a kind of match is not known.
    """
    if not all(_meets(constraint, attrs) for constraint in constraints):
        return False
    if selector.selector.identifier == ref:
        return True
    match selector.selector.match_type:
        case policy_pb2.EXACT:
            return False
        case policy_pb2.REGEX:
            return selector.regexp().search(ref) is not None
        case policy_pb2.WILDCARD:
            return selector.wildcard_match(ref) is not None
    raise SourcePolicyError(f"unknown match type: {match_type_name(selector.selector.match_type)}")


def _meets(constraint: policy_pb2.AttrConstraint, attrs: Mapping[str, str]) -> bool:
    value = attrs.get(constraint.key, "")
    match constraint.condition:
        case policy_pb2.EQUAL:
            return value == constraint.value
        case policy_pb2.NOTEQUAL:
            return value != constraint.value
        case policy_pb2.MATCHES:
            try:
                return compile_regexp(constraint.value).search(value) is not None
            except SourcePolicyError as err:
                raise SourcePolicyError(f"invalid regex {quote(constraint.value)}: {err}") from err
    raise SourcePolicyError(f"unknown attr condition: {constraint.condition}")
