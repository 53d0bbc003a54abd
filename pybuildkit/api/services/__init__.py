"""The daemon's services. Mirrors api/services of BuildKit, v0.32.2."""
