"""The commands below `debug`, a module each, loaded when it is run. Mirrors cmd/buildctl/debug, v0.32.2."""
