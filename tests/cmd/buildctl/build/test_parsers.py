"""What the value parsers do beyond the golden vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pybuildkit.cmd.buildctl import build
from pybuildkit.golang.errors import BuildkitError
from pybuildkit.sourcepolicy.pb import policy_pb2 as pb


@pytest.mark.parametrize(
    ("value", "special_files", "attrs"),
    [
        ("type=local,dest=d", False, {}),
        ("type=local,dest=d,special-files=true", True, {}),
        ("type=local,dest=d,special-files=0,mode=copy", False, {"mode": "copy"}),
        ("type=tar,dest=-,special-files=true", False, {"special-files": "true"}),
    ],
)
def test_special_files_never_reach_the_daemon(value: str, special_files: bool, attrs: dict[str, str]) -> None:
    (entry,) = build.parse_output([value])
    assert (entry.special_files, dict(entry.attrs)) == (special_files, attrs)


def test_special_files_is_a_truth_value() -> None:
    with pytest.raises(BuildkitError, match=r"^invalid value for 'special-files': x: strconv\.ParseBool: "):
        build.parse_output(["type=local,dest=d,special-files=x"])


def _policy(tmp_path: Path, text: str) -> pb.Policy:
    path = tmp_path / "p.json"
    path.write_text(text)
    return build.read_source_policy(str(path))


def test_source_policy(tmp_path: Path) -> None:
    rule = {
        "action": "CONVERT",
        "selector": {
            "identifier": "docker-image://x",
            "MATCH_TYPE": "REGEX",
            "constraints": [{"key": "k", "value": "v", "condition": 1}],
        },
        "updates": {"identifier": "y", "attrs": {"a": "b"}},
        "unknown": [1],
    }
    policy = _policy(tmp_path, json.dumps({"version": 1, "rules": [rule, {"action": 1}, None]}))
    want = pb.Rule(
        action=pb.PolicyAction.CONVERT,
        selector=pb.Selector(
            identifier="docker-image://x",
            match_type=pb.MatchType.REGEX,
            constraints=[pb.AttrConstraint(key="k", value="v", condition=pb.AttrMatch.NOTEQUAL)],
        ),
        updates=pb.Update(identifier="y", attrs={"a": "b"}),
    )
    assert policy == pb.Policy(version=1, rules=[want, pb.Rule(action=pb.PolicyAction.DENY), pb.Rule()])
    assert _policy(tmp_path, "null") == pb.Policy()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "unexpected end of JSON input"),
        ("[]", "json: cannot unmarshal array into Go value of type moby_buildkit_v1_sourcepolicy.Policy"),
        ('"x"', "json: cannot unmarshal string into Go value of type moby_buildkit_v1_sourcepolicy.Policy"),
        ('{"version":"x"}', "json: cannot unmarshal string into Go struct field Policy.version of type int64"),
        ('{"version":1.5}', "json: cannot unmarshal number 1.5 into Go struct field Policy.version of type int64"),
        (
            '{"rules":{}}',
            "json: cannot unmarshal object into Go struct field Policy.rules of type "
            "[]*moby_buildkit_v1_sourcepolicy.Rule",
        ),
        ('{"Version":1e1}', "json: cannot unmarshal number 1e1 into Go struct field Policy.Version of type int64"),
        ('{"version":tru', "unexpected end of JSON input"),
        ("7", "json: cannot unmarshal number into Go value of type moby_buildkit_v1_sourcepolicy.Policy"),
        (
            '{"rules":[null,7]}',
            "json: cannot unmarshal number into Policy.rules.1 of type moby_buildkit_v1_sourcepolicy.Rule",
        ),
        (
            '{"RULES":[{"selector":{"identifier":5}}]}',
            "json: cannot unmarshal number into Go struct field Policy.RULES.0.selector.identifier of type string",
        ),
        (
            '{"rules":[{"updates":{"attrs":{"a":[]}}}]}',
            "json: cannot unmarshal array into Go struct field Policy.rules.0.updates.attrs.a of type string",
        ),
        ('{"rules":[{"action":"NO"}]}', 'unrecognized enum ALLOW value "NO"'),
        ('{"rules":[{"action":9}]}', "invalid PolicyAction value: 9"),
        ('{"rules":[{"action":[]}]}', "cannot unmarshal `[]` into enum ALLOW"),
    ],
)
def test_source_policy_errors(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(BuildkitError) as caught:
        _policy(tmp_path, text)
    assert str(caught.value) == f'failed to unmarshal source-policy-file "{tmp_path}/p.json": {error}'
