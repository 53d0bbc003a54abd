"""Ports of other Go modules that BuildKit's client uses, in the versions that BuildKit v0.32.2 requires.

Every module names the one it mirrors, with its version; a module without one is named by its commit.
"""
