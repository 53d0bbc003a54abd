"""What Go gives and Python does not: contexts, error groups, channels, and Go's texts for values.

Nothing here knows of BuildKit. Modules are imported by name (`from pybuildkit.golang import context`).
"""
