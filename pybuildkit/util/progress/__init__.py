"""Showing and handing on the progress of solves. Mirrors util/progress, v0.32.2, as far as clients use it."""
