"""What Go gives and Python does not: contexts, error groups, channels, and Go's texts for values.

What is of Go's standard library mirrors Go 1.26, which BuildKit v0.32.2 is built with; nothing here knows of
BuildKit. Modules are imported by name (`from pybuildkit.golang import context`).
"""
