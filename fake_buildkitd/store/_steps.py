"""The layers that a snapshot is made of, as steps: a step is what the snapshot UPPER adds to the snapshot LOWER.

Steps are pairs of ids, LOWER being "" for an empty tree, the lowest first. Where a snapshot that a step needs was
pruned, the whole tree is one step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from fake_buildkitd.store._store import Snapshot, Store

Step = tuple[str, str]


def set_steps(store: Store, snapshot: Snapshot, steps: Sequence[Step]) -> None:
    """Note the steps of a snapshot."""
    store.set_note(f"steps:{snapshot.id}", json.dumps(steps), snapshot)


def steps_of(store: Store, snapshot: Snapshot | None) -> list[Step]:
    """The steps of a snapshot; none of an empty tree."""
    if snapshot is None:
        return []
    noted = store.note(f"steps:{snapshot.id}")
    whole = [("", snapshot.id)]
    if noted is None:
        return whole
    steps: list[Step] = [(lower, upper) for lower, upper in json.loads(noted)]
    there = all((not lower or store.get(lower)) and store.get(upper) for lower, upper in steps)
    return steps if there else whole
