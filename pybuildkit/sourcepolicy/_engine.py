"""The engine that evaluates policies against a source.

For ALLOW and DENY the last rule that matches wins within a policy; one policy that denies is enough. A CONVERT that
changes the source starts again with the first policy, up to 20 times.

Mirrors sourcepolicy/engine.go, v0.32.2. Differs: nothing is logged.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.golang.strconv import quote
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.sourcepolicy._formatter import SelectorCache, SourcePolicyError
from pybuildkit.sourcepolicy._matcher import match
from pybuildkit.sourcepolicy._mutate import mutate
from pybuildkit.sourcepolicy.pb import policy_pb2

_MAX_MUTATIONS = 20


class SourceDeniedError(SourcePolicyError):
    """A policy does not allow the source."""

    def __init__(self, identifier: str) -> None:
        super().__init__(f"source {quote(identifier)} denied by policy: source denied by policy")
        self.identifier = identifier


class TooManyOpsError(SourcePolicyError):
    """The rules replace the source again and again."""

    def __init__(self) -> None:
        super().__init__("too many mutations on a single source: too many operations")


class Engine:
    """Evaluates policies; made by `new_engine`."""

    def __init__(self, policies: Sequence[policy_pb2.Policy]) -> None:
        self._policies = list(policies)
        self._selectors: dict[tuple[int, str], SelectorCache] = {}

    def _selector(self, selector: policy_pb2.Selector) -> SelectorCache:
        key = (selector.match_type, selector.identifier)
        if key not in self._selectors:
            self._selectors[key] = SelectorCache(selector)
        return self._selectors[key]

    def evaluate(self, op: ops_pb2.SourceOp | None) -> bool:
        """Evaluate the policies against a source and change it in place where they say so.

        Returns:
            whether the source is another than before. It may be changed when an error is raised, too.

        Raises:
            SourceDeniedError: a policy does not allow it.
            TooManyOpsError: the rules replace it again and again.
            BuildkitError: a policy cannot be evaluated.
        """
        if not self._policies or op is None:
            return False
        for count in range(_MAX_MUTATIONS + 1):
            if not any(self._evaluate_policy(policy, op) for policy in self._policies):
                return count > 0
        raise TooManyOpsError

    def _evaluate_policy(self, policy: policy_pb2.Policy, op: ops_pb2.SourceOp) -> bool:
        """Whether the policy changed the source."""
        identifier = op.identifier
        deny = False
        for rule in policy.rules:
            selector = self._selector(rule.selector)
            try:
                matched = match(selector, identifier, rule.selector.constraints, op.attrs)
            except BuildkitError as err:
                raise wrap(err, "error matching source policy") from err
            if not matched:
                continue
            match rule.action:
                case policy_pb2.ALLOW:
                    deny = False
                case policy_pb2.DENY:
                    deny = True
                case policy_pb2.CONVERT:
                    if self._convert(op, rule, selector, identifier):
                        return True
                case other:
                    name = f"{other} {rule.selector.identifier}"
                    raise SourcePolicyError(f"source policy: rule {name}: unknown type {quote(identifier)}")
        if deny:
            raise SourceDeniedError(identifier)
        return False

    def _convert(self, op: ops_pb2.SourceOp, rule: policy_pb2.Rule, selector: SelectorCache, identifier: str) -> bool:
        try:
            return mutate(op, rule, selector, identifier)
        except BuildkitError as err:
            raise wrap(err, "error mutating source policy") from err


def new_engine(policies: Sequence[policy_pb2.Policy]) -> Engine:
    """An engine for these policies, in order."""
    return Engine(policies)
