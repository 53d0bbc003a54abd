"""Files over the session: contexts to the daemon, exports from it.

Mirrors package session/filesync of BuildKit, v0.32.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.session.filesync._filesync import (
        DirSource,
        FSSendRequestOpt,
        FSSyncProvider,
        InvalidSessionError,
        StaticDirSource,
        decode_opts,
        encode_opts,
        fs_sync,
        new_fs_sync_provider,
    )
    from pybuildkit.session.filesync._synctarget import (
        ExportError,
        FSSyncTarget,
        SyncTarget,
        copy_file_writer,
        copy_to_caller,
        new_fs_sync_target,
        with_fs_sync,
        with_fs_sync_dir,
        with_fs_sync_dir_delete,
    )

_EXPORTS = {
    "DirSource": "_filesync",
    "ExportError": "_synctarget",
    "FSSendRequestOpt": "_filesync",
    "FSSyncProvider": "_filesync",
    "FSSyncTarget": "_synctarget",
    "InvalidSessionError": "_filesync",
    "StaticDirSource": "_filesync",
    "SyncTarget": "_synctarget",
    "copy_file_writer": "_synctarget",
    "copy_to_caller": "_synctarget",
    "decode_opts": "_filesync",
    "encode_opts": "_filesync",
    "fs_sync": "_filesync",
    "new_fs_sync_provider": "_filesync",
    "new_fs_sync_target": "_synctarget",
    "with_fs_sync": "_synctarget",
    "with_fs_sync_dir": "_synctarget",
    "with_fs_sync_dir_delete": "_synctarget",
}

__all__ = [
    "DirSource",
    "ExportError",
    "FSSendRequestOpt",
    "FSSyncProvider",
    "FSSyncTarget",
    "InvalidSessionError",
    "StaticDirSource",
    "SyncTarget",
    "copy_file_writer",
    "copy_to_caller",
    "decode_opts",
    "encode_opts",
    "fs_sync",
    "new_fs_sync_provider",
    "new_fs_sync_target",
    "with_fs_sync",
    "with_fs_sync_dir",
    "with_fs_sync_dir_delete",
]

__getattr__, _ = attach(__name__, _EXPORTS)
