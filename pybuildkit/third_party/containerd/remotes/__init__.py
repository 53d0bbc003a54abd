"""Registries as containerd reaches them. Mirrors core/remotes of github.com/containerd/containerd, v2.3.3."""
