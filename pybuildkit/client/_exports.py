"""Where a solve's exports go: checks, targets on the session, content stores.

Mirrors the export half of solve in client/solve.go, v0.32.2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybuildkit.client._solveopt import (
    EXPORTER_DOCKER,
    EXPORTER_LOCAL,
    EXPORTER_OCI,
    EXPORTER_TAR,
    LOCAL_EXPORTER_MODE_DELETE,
    parse_local_exporter_mode,
)
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.golang.filepath import mkdir_all
from pybuildkit.golang.strconv import quote
from pybuildkit.session import filesync

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pybuildkit.client._solveopt import ExportEntry, SolveOpt
    from pybuildkit.session.filesync import FSSyncTarget, SyncTarget
    from pybuildkit.third_party.containerd.content import Store

EXPORT_STORE = "export"


@dataclass(kw_only=True)
class ExportPlan:
    """What the exports of a solve need.

    Attributes:
        sync_target: receives the local, tar, oci and docker exports; None where there are none.
        content_stores: all stores to offer, by the name the daemon asks for.
        stores_to_update: folders of stores whose index names the result afterwards.
    """

    sync_target: SyncTarget | None = None
    content_stores: dict[str, Store] = field(default_factory=dict)
    stores_to_update: list[str] = field(default_factory=list)


def plan_exports(opt: SolveOpt, cache_stores: Mapping[str, Store]) -> ExportPlan:
    """Check the exports and prepare their targets.

    Raises:
        BuildkitError: when an export has a destination its type cannot use, or lacks the one it needs.
    """
    plan = ExportPlan(content_stores=dict(cache_stores))
    for key, store in opt.oci_stores.items():
        name = f"oci:{key}"
        if name in plan.content_stores:
            raise BuildkitError(f"oci store key {quote(key)} already exists")
        plan.content_stores[name] = store
    targets: list[FSSyncTarget] = []
    for index, entry in enumerate(opt.exports):
        supports = _check(entry)
        if "file" in supports:
            assert entry.output is not None
            targets.append(filesync.with_fs_sync(index, entry.output))
        if "dir" in supports:
            targets.append(_dir_target(index, entry))
        if "store" in supports:
            _add_store(entry, plan)
    if targets:
        plan.sync_target = filesync.new_fs_sync_target(*targets)
    return plan


def _check(entry: ExportEntry) -> set[str]:
    """Which of "file", "dir" and "store" the export uses."""
    supports: set[str] = set()
    if entry.type == EXPORTER_LOCAL:
        supports.add("dir")
    elif entry.type == EXPORTER_TAR:
        supports.add("file")
    elif entry.type in (EXPORTER_OCI, EXPORTER_DOCKER):
        if entry.output is not None:
            supports.add("file")
        if entry.output_store is not None or entry.output_dir:
            supports.add("store")
        if len(supports) == 2:
            raise BuildkitError(f"both file and store output is not supported by {entry.type} exporter")
    if "file" not in supports and entry.output is not None:
        raise BuildkitError(f"output file writer is not supported by {entry.type} exporter")
    if not supports & {"dir", "store"} and entry.output_dir:
        raise BuildkitError(f"output directory is not supported by {entry.type} exporter")
    if "store" not in supports and entry.output_store is not None:
        raise BuildkitError(f"output store is not supported by {entry.type} exporter")
    if "file" in supports and entry.output is None:
        raise BuildkitError(f"output file writer is required for {entry.type} exporter")
    if "dir" in supports and not entry.output_dir:
        raise BuildkitError(f"output directory is required for {entry.type} exporter")
    return supports


def _dir_target(index: int, entry: ExportEntry) -> FSSyncTarget:
    mode = parse_local_exporter_mode(entry.attrs.get("mode", ""))
    make = filesync.with_fs_sync_dir_delete if mode == LOCAL_EXPORTER_MODE_DELETE else filesync.with_fs_sync_dir
    return make(index, os.fspath(entry.output_dir), special_files=entry.special_files)


def _add_store(entry: ExportEntry, plan: ExportPlan) -> None:
    store = entry.output_store
    if store is None:
        from pybuildkit.third_party.containerd.content import new_store

        folder = os.fspath(entry.output_dir)
        mkdir_all(folder, 0o755)
        store = new_store(folder)
        plan.stores_to_update.append(folder)
    if EXPORT_STORE in plan.content_stores:
        raise BuildkitError(f"oci store key {quote(EXPORT_STORE)} already exists")
    plan.content_stores[EXPORT_STORE] = store
