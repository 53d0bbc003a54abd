"""Commands. Mirrors cmd of BuildKit, v0.32.2."""
