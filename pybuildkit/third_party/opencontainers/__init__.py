"""Ports of github.com/opencontainers modules."""
