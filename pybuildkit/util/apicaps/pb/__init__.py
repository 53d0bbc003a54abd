"""The messages of capabilities (`caps_pb2`). Mirrors util/apicaps/pb, v0.32.2."""
