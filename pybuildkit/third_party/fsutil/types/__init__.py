"""The messages of a transfer (`stat_pb2`, `wire_pb2`). Mirrors package types of tonistiigi/fsutil (6d9dc2e)."""
