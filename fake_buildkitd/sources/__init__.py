"""Where trees come from: a client's files, images, files from the web, git repositories."""

from fake_buildkitd.sources._job import JobSources
from fake_buildkitd.sources._local import LocalSource
from fake_buildkitd.sources._receive import TreeReceiver, receive_tree

__all__ = ["JobSources", "LocalSource", "TreeReceiver", "receive_tree"]
