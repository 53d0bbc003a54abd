"""Sources: where trees come from."""

from fake_buildkitd.sources._local import LocalSource
from fake_buildkitd.sources._receive import TreeReceiver, receive_tree

__all__ = ["LocalSource", "TreeReceiver", "receive_tree"]
