"""Image references; names from distribution/reference's own tests where one is ported."""

import pytest

from pybuildkit.golang.errors import BuildkitError
from pybuildkit.third_party.distribution import reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "short", "with_tag"),
    [
        ("busybox", "docker.io/library/busybox", "busybox", "docker.io/library/busybox:latest"),
        ("a/b", "docker.io/a/b", "a/b", "docker.io/a/b:latest"),
        ("library/x", "docker.io/library/x", "x", "docker.io/library/x:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b", "docker.io/library/a/b:latest"),
        ("localhost/x", "localhost/x", "localhost/x", "localhost/x:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1", "[::1]:5000/x:1"),
        ("HOST/x", "HOST/x", "HOST/x", "HOST/x:latest"),
        (f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}", f"x:1@{DIGEST}", f"docker.io/library/x:1@{DIGEST}"),
    ],
)
def test_parse_repository_info(text: str, full: str, short: str, with_tag: str) -> None:
    ref = reference.parse_normalized_named(text)
    assert (str(ref), str(ref.familiar()), str(reference.tag_name_only(ref))) == (full, short, with_tag)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid reference format"),
        ("Upper", "invalid reference format: repository name (library/Upper) must be lowercase"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("x:", "invalid reference format"),
        ("x@sha256:aa", "invalid reference format"),
        ("x@sha256:" + "A" * 64, "invalid checksum digest format"),
        ("x@sha256:" + "a" * 63, "invalid checksum digest length"),
        ("x\n", "invalid reference format"),
        ("h.io/" + "a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_invalid_names(text: str, error: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        reference.parse_normalized_named(text)
    assert str(caught.value) == error


def test_parse_docker_ref() -> None:
    assert str(reference.parse_docker_ref(f"x:1@{DIGEST}")) == f"docker.io/library/x@{DIGEST}"
    assert str(reference.parse_docker_ref("x")) == "docker.io/library/x:latest"
    assert str(reference.parse_docker_ref("x:2")) == "docker.io/library/x:2"


def test_with_tag_and_digest() -> None:
    ref = reference.parse("h.io/x")
    assert str(reference.with_digest(reference.with_tag(ref, "t"), DIGEST)) == f"h.io/x:t@{DIGEST}"
    with pytest.raises(reference.ReferenceError, match="invalid tag format"):
        reference.with_tag(ref, "-")
    with pytest.raises(reference.ReferenceError, match="invalid digest format"):
        reference.with_digest(ref, "sha256:1")
