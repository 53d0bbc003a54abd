"""Which of our tests port fsutil's own, name for name (tonistiigi/fsutil@6d9dc2e has 103)."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

VALIDATOR_GOOD = ["SimpleFiles", "SimpleDir", "SimpleDir2", "Dot"]
VALIDATOR_BAD = [
    "FilesNotInOrder",
    "FilesNotInOrder2",
    "DirIsFile",
    "DirIsFile2",
    "NoParentDir",
    "ParentFile",
    "ParentFile2",
    "BackToParent",
    "ParentOrder",
    "BigJump",
    "Dot2",
    "SkipDir",
]

PORTED = {
    **{f"TestValidator{name}": "test_validator.py::test_validator_accepts" for name in VALIDATOR_GOOD},
    **{f"TestValidator{name}": "test_validator.py::test_validator_refuses" for name in VALIDATOR_BAD},
    "TestValidHardlinks": "test_validator.py::test_hardlinks",
    "TestInvalideHardlinks": "test_validator.py::test_hardlinks",
    "TestInvalideHardlinks2": "test_validator.py::test_hardlinks",
    "TestHardlinkToDir": "test_validator.py::test_hardlinks",
    "TestHardlinkToSymlink": "test_validator.py::test_hardlinks",
    "TestSendError": "test_receive.py::test_send_error",
    "TestCopyWithSubDir": "test_receive.py::test_copy_with_sub_dir",
    "TestCopyDirectoryTimestamps": "test_receive.py::test_copy_directory_timestamps",
    "TestCopySwitchDirToFile": "test_receive.py::test_copy_switch_dir_to_file",
    "TestHardlinkFilter": "test_receive.py::test_hardlink_filter",
    "TestCopySimple": "test_receive.py::test_copy_simple",
    "TestCopyMetadataOnly": "test_receive.py::test_copy_metadata_only",
    "TestWalkerSimple": "test_filter.py::test_walker_simple",
    "TestInvalidExcludePatterns": "test_filter.py::test_invalid_exclude_patterns",
    "TestWalkerInclude": "test_filter.py::test_include",
    "TestWalkerDoublestarInclude": "test_filter.py::test_include",
    "TestWalkerIncludeReturnSkipDir": "test_filter.py::test_walker_include_return_skip_dir",
    "TestWalkerExclude": "test_filter.py::test_walker_exclude",
    "TestWalkerFollowLinks": "test_filter.py::test_walker_follow_links",
    "TestWalkerFollowLinksToRoot": "test_filter.py::test_walker_follow_links_to_root",
    "TestWalkerMap": "test_filter.py::test_walker_map",
    "TestWalkerMapSkipDir": "test_filter.py::test_walker_map_skip_dir",
    "TestWalkerMapSkipDirWithPattern": "test_filter.py::test_walker_map_skip_dir_with_pattern",
    "TestWalkerPermissionDenied": "test_filter.py::test_walker_permission_denied",
    "TestFSWalk": "test_filter.py::test_fs_walk",
    "TestFSWalkNested": "test_filter.py::test_fs_walk_nested",
    "TestFilteredOpen": "test_filter.py::test_filtered_open",
    "TestFilteredOpenWildcard": "test_filter.py::test_filtered_open",
    "TestFilteredOpenInvert": "test_filter.py::test_filtered_open",
    "TestWalk": "test_filter.py::test_walk",
    "TestWalkDir": "test_filter.py::test_walk_dir",
    "TestRootFSWalkSkipsConcurrentlyRemovedEntry": "test_filter.py::test_root_fs_walk_skips_concurrently_removed_entry",
    "TestFollowLinks": "test_followlinks.py::test_follow_links",
    "TestFollowLinksLoop": "test_followlinks.py::test_follow_links",
    "TestFollowLinksAbsolute": "test_followlinks.py::test_follow_links",
    "TestFollowLinksNotExists": "test_followlinks.py::test_follow_links",
    "TestFollowLinksNormalized": "test_followlinks.py::test_follow_links",
    "TestFollowLinksWildcard": "test_followlinks.py::test_follow_links",
    "TestInternalReadFile": "test_followlinks.py::test_internal_read_file",
    "TestInternalReadDir": "test_followlinks.py::test_internal_read_dir",
    "TestStat": "test_stat.py::test_stat",
    "TestStat_SkipAppleXattrs": "test_xattr.py::test_stat_skips_apple_xattrs",
    "TestRootFSWalkXattrs": "test_xattr.py::test_root_fs_walk_xattrs",
    "TestLoadRootXattrIgnoresOpenPermissionError": "test_xattr.py::test_attribute_that_cannot_be_read_is_left_out",
    "TestWriterSimple": "test_diskwriter.py::test_writer",
    "TestWriterFileToDir": "test_diskwriter.py::test_writer",
    "TestWriterDirToFile": "test_diskwriter.py::test_writer",
    "TestWalkerWriterSimple": "test_diskwriter.py::test_walker_writer_simple",
    "TestWalkerWriterAsync": "test_diskwriter.py::test_walker_writer_simple",
    "TestWalkerWriterDevices": "test_diskwriter.py::test_walker_writer_devices",
    "TestRootMknodFIFO": "test_diskwriter.py::test_root_mknod_fifo",
    "TestRootMknodRejectsEscape": "test_diskwriter.py::test_root_rejects_escape",
    "TestRootCloseClosesWrappedRoot": "test_diskwriter.py::test_root_close_closes_wrapped_root",
    "TestRootStackUsesSubrootAndBasename": "test_diskwriter.py::test_root_stack_uses_subroot_and_basename",
    "TestRootCacheUsesCachedParentChain": "test_diskwriter.py::test_root_stack_uses_subroot_and_basename",
    "TestRootLChtimesDoesNotFollowSymlink": "test_diskwriter.py::test_root_lchtimes_does_not_follow_symlink",
    "TestRootDiskWriterXattrs": "test_diskwriter.py::test_root_disk_writer_xattrs",
    "TestRootLSetxattr": "test_diskwriter.py::test_root_disk_writer_xattrs",
    "TestDiffCopyFakeConnEOF": "test_over_rpc.py::test_a_tree_arrives",
}

NOT_PORTED = {
    "a buffer that Go's packets are read into; there is none here": [
        "TestAllocAndBytes",
        "TestLargeAllocGetsOwnChunk",
        "TestMultipleChunkBoundary",
    ],
    "fsutil/copy, which the daemon copies with; the client does not use it": [
        "TestCopyDevicesAndFifo",
        "TestCopyDirectory",
        "TestCopyDirectoryBasename",
        "TestCopyDirectoryChmodChown",
        "TestCopyDirectoryContentsTimestamp",
        "TestCopyDirectoryWithLocalSymlink",
        "TestCopyExistingDirDest",
        "TestCopyFileWithPathTimestamp",
        "TestCopyIncludeExclude",
        "TestCopyModeTextFormat",
        "TestCopyOverrideFile",
        "TestCopySetuid",
        "TestCopySingleFile",
        "TestCopySymlinks",
        "TestCopyToWorkDir",
        "TestCopyWildcards",
        "TestCopyWithAlwaysReplaceExistingDestPaths",
        "TestMkdirUmaskFix",
        "TestMkdirUmaskFixExistingPath",
    ],
    "fsutil/copy on Windows": [
        "TestCopyFromRootWithProtectedFolders",
        "TestCopyMultipleExcludesSkipLstat",
        "TestCopyWithExcludeSkipsLstat",
        "TestCopyWithIncludeAndExcludeMustCallLstat",
        "TestCopyWithNegationPatternsMustCallLstat",
    ],
}

UPSTREAM = 103
TWICE = 1
"""TestRootLSetxattr stands in two files upstream, one for each kind of system."""


@cache
def module(file: str) -> tuple[str, frozenset[str]]:
    """A test module's text and its functions."""
    text = (Path(__file__).parent / file).read_text()
    tree = ast.parse(text)
    return text, frozenset(n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))


@pytest.mark.parametrize("name", PORTED)
def test_ported_test_exists(name: str) -> None:
    file, _, function = PORTED[name].partition("::")
    text, functions = module(file)
    assert function in functions
    users = [other for other, place in PORTED.items() if place == PORTED[name]]
    assert len(users) == 1 or name in text, "a test that stands for several names each of them"


def test_every_name_has_its_place() -> None:
    left_out = [name for names in NOT_PORTED.values() for name in names]
    assert len(PORTED) + len(left_out) == UPSTREAM - TWICE
    assert not set(PORTED) & set(left_out)
