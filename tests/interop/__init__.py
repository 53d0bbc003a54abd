"""Meetings with gRPC implementations that are not ours."""
