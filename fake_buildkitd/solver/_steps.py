"""The layers of merges and differences.

Mirrors Merge and Diff of cache/manager.go, v0.32.2: a merge has the layers of its inputs; a difference has those
that the upper tree has more than the lower one where there are several, else one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from fake_buildkitd.solver._mergediff import Layer, diff, merge
from fake_buildkitd.store import Node, Snapshot, Step, Store, empty_root, steps_of


def merge_steps(store: Store, trees: Sequence[Snapshot | None]) -> list[Step]:
    """The steps of a merge, the lowest tree first."""
    return [step for tree in trees for step in steps_of(store, tree)]


def diff_steps(store: Store, lower: Snapshot | None, upper: Snapshot | None) -> list[Step]:
    """The steps of a difference."""
    below, steps = steps_of(store, lower), steps_of(store, upper)
    if lower is None or upper is None or not below:
        return steps
    if lower.id == upper.id:
        return []
    if len(steps) > len(below) + 1 and steps[: len(below)] == below:
        return steps[len(below) :]
    return [(lower.id, upper.id)]


def tree_of_steps(store: Store, steps: Sequence[Step]) -> Node:
    """The tree that steps make from nothing."""
    return merge([_layer(store, step) for step in steps])


def _layer(store: Store, step: Step) -> Layer:
    lower, upper = (store.get(name) for name in step)
    above = upper.root if upper is not None else empty_root()
    return diff(lower.root, above) if lower is not None else Layer(above)
