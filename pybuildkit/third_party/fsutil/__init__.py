"""Trees of files, and moving them from one place to another.

Mirrors github.com/tonistiigi/fsutil, as vendored by BuildKit v0.32.2 (and util/staticfs of BuildKit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybuildkit._lazy import attach

if TYPE_CHECKING:
    from pybuildkit.third_party.fsutil._diff import DIFF_CONTENT, DIFF_METADATA, DIFF_NONE, DiffType
    from pybuildkit.third_party.fsutil._diskwriter import (
        ContentHasher,
        DiskWriter,
        FileWriter,
        HashedChange,
        NotifyFunc,
        RefusedError,
        SizeError,
    )
    from pybuildkit.third_party.fsutil._filter import FilterFS, FilterOpt, MapFunc, MapResult, new_filter_fs, walk
    from pybuildkit.third_party.fsutil._followlinks import follow_links
    from pybuildkit.third_party.fsutil._fs import FS, Dir, DiskFS, Entry, File, ResolveError, SubDirFS, new_fs
    from pybuildkit.third_party.fsutil._receive import UnconfirmedError, receive
    from pybuildkit.third_party.fsutil._receiver import FilterFunc, ReceiveOpt, Receiver
    from pybuildkit.third_party.fsutil._root import Root
    from pybuildkit.third_party.fsutil._send import send
    from pybuildkit.third_party.fsutil._sender import ProtocolError, RemoteError, Sender
    from pybuildkit.third_party.fsutil._stat import (
        MODE_CHAR_DEVICE,
        MODE_DEVICE,
        MODE_DIR,
        MODE_NAMED_PIPE,
        MODE_PERM,
        MODE_SETGID,
        MODE_SETUID,
        MODE_SOCKET,
        MODE_STICKY,
        MODE_SYMLINK,
        MODE_TYPE,
        Stat,
        go_mode,
        stat,
        unix_permissions,
    )
    from pybuildkit.third_party.fsutil._staticfs import MemoryFile, MergeFS, StaticFS
    from pybuildkit.third_party.fsutil._tarwriter import write_tar
    from pybuildkit.third_party.fsutil._tasks import PacketStream
    from pybuildkit.third_party.fsutil._validator import (
        ChangeKind,
        Hardlinks,
        LinkError,
        OrderError,
        Validator,
        compare_path,
        with_hardlink_reset,
    )

_EXPORTS = {
    "DIFF_CONTENT": "_diff",
    "DIFF_METADATA": "_diff",
    "DIFF_NONE": "_diff",
    "FS": "_fs",
    "MODE_CHAR_DEVICE": "_stat",
    "MODE_DEVICE": "_stat",
    "MODE_DIR": "_stat",
    "MODE_NAMED_PIPE": "_stat",
    "MODE_PERM": "_stat",
    "MODE_SETGID": "_stat",
    "MODE_SETUID": "_stat",
    "MODE_SOCKET": "_stat",
    "MODE_STICKY": "_stat",
    "MODE_SYMLINK": "_stat",
    "MODE_TYPE": "_stat",
    "ChangeKind": "_validator",
    "ContentHasher": "_diskwriter",
    "DiffType": "_diff",
    "Dir": "_fs",
    "DiskFS": "_fs",
    "DiskWriter": "_diskwriter",
    "Entry": "_fs",
    "File": "_fs",
    "FileWriter": "_diskwriter",
    "FilterFS": "_filter",
    "FilterFunc": "_receiver",
    "FilterOpt": "_filter",
    "Hardlinks": "_validator",
    "HashedChange": "_diskwriter",
    "LinkError": "_validator",
    "MapFunc": "_filter",
    "MapResult": "_filter",
    "MemoryFile": "_staticfs",
    "MergeFS": "_staticfs",
    "NotifyFunc": "_diskwriter",
    "OrderError": "_validator",
    "PacketStream": "_tasks",
    "ProtocolError": "_sender",
    "ReceiveOpt": "_receiver",
    "Receiver": "_receiver",
    "RefusedError": "_diskwriter",
    "RemoteError": "_sender",
    "UnconfirmedError": "_receive",
    "ResolveError": "_fs",
    "Root": "_root",
    "Sender": "_sender",
    "SizeError": "_diskwriter",
    "Stat": "_stat",
    "StaticFS": "_staticfs",
    "SubDirFS": "_fs",
    "Validator": "_validator",
    "compare_path": "_validator",
    "follow_links": "_followlinks",
    "go_mode": "_stat",
    "new_filter_fs": "_filter",
    "new_fs": "_fs",
    "receive": "_receive",
    "send": "_send",
    "stat": "_stat",
    "unix_permissions": "_stat",
    "walk": "_filter",
    "with_hardlink_reset": "_validator",
    "write_tar": "_tarwriter",
}

__all__ = [
    "DIFF_CONTENT",
    "DIFF_METADATA",
    "DIFF_NONE",
    "FS",
    "MODE_CHAR_DEVICE",
    "MODE_DEVICE",
    "MODE_DIR",
    "MODE_NAMED_PIPE",
    "MODE_PERM",
    "MODE_SETGID",
    "MODE_SETUID",
    "MODE_SOCKET",
    "MODE_STICKY",
    "MODE_SYMLINK",
    "MODE_TYPE",
    "ChangeKind",
    "ContentHasher",
    "DiffType",
    "Dir",
    "DiskFS",
    "DiskWriter",
    "Entry",
    "File",
    "FileWriter",
    "FilterFS",
    "FilterFunc",
    "FilterOpt",
    "Hardlinks",
    "HashedChange",
    "LinkError",
    "MapFunc",
    "MapResult",
    "MemoryFile",
    "MergeFS",
    "NotifyFunc",
    "OrderError",
    "PacketStream",
    "ProtocolError",
    "ReceiveOpt",
    "Receiver",
    "RefusedError",
    "RemoteError",
    "ResolveError",
    "Root",
    "Sender",
    "SizeError",
    "Stat",
    "StaticFS",
    "SubDirFS",
    "UnconfirmedError",
    "Validator",
    "compare_path",
    "follow_links",
    "go_mode",
    "new_filter_fs",
    "new_fs",
    "receive",
    "send",
    "stat",
    "unix_permissions",
    "walk",
    "with_hardlink_reset",
    "write_tar",
]

__getattr__, _ = attach(__name__, _EXPORTS)
