"""Replacing a source by what a rule says.

Mirrors sourcepolicy/mutate.go, v0.32.2.
"""

from __future__ import annotations

from pybuildkit.golang.errors import BuildkitError, wrap
from pybuildkit.solver.pb import ops_pb2
from pybuildkit.sourcepolicy._formatter import SelectorCache, SourcePolicyError
from pybuildkit.sourcepolicy.pb import policy_pb2


def mutate(op: ops_pb2.SourceOp, rule: policy_pb2.Rule, selector: SelectorCache, ref: str) -> bool:
    """Change the op as the rule says.

    Returns:
        whether anything is another than before.

    Raises:
        SourcePolicyError: the rule does not say what to put in the source's place.
    """
    if not rule.HasField("updates"):
        raise SourcePolicyError("missing destination for convert rule")
    try:
        target = selector.format(ref, rule.updates.identifier or rule.selector.identifier)
    except BuildkitError as err:
        raise wrap(err, "error formatting destination") from err
    mutated = bool(target) and op.identifier != target
    if mutated:
        op.identifier = target
    for key, value in rule.updates.attrs.items():
        if op.attrs.get(key, "") != value:
            op.attrs[key] = value
            mutated = True
    return mutated
