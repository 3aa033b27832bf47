from __future__ import annotations

import hashlib
from pathlib import Path

import jsonschema
import pytest

from sealwave.images.errors import SpecError
from sealwave.images.spec import load_schema, load_spec, parse_spec
from tests.images.samples import EXAMPLES, SPEC

PLACE = Path("node.yaml")

WRONG = {
    "unknown key with a near one": (SPEC.replace("packages:", "pakages:"), 8, "did you mean `packages`?"),
    "unknown key with none near": (SPEC + "zzz: 1\n", 12, "known keys here: apiVersion"),
    "unknown key inside": (
        SPEC.replace("  suite:", "  siute:"),
        7,
        "unknown key `siute` in `base`; did you mean `suite`?",
    ),
    "wrong type": (SPEC.replace("releaseNumber: 1", "releaseNumber: one"), 5, 'should be a whole number, but is "one"'),
    "wrong type in a list": (
        SPEC.replace("  - systemd", "  - systemd\n  - 7"),
        10,
        "`packages.1` should be text, but is 7",
    ),
    "list instead of text": (SPEC.replace("name: small", "name: [a]"), 3, "`name` should be text"),
    "missing key": (
        SPEC.replace("  package: linux-image-cloud-amd64\n", "  load: []\n"),
        10,
        "lacks the key `package`",
    ),
    "missing key at the top": (SPEC.replace("version: 1.0.0\n", ""), 1, "`the spec` lacks the key `version`"),
    "wrong kind": (SPEC.replace("kind: NodeImage", "kind: Rollout"), 2, 'should be NodeImage, but is "Rollout"'),
    "bad name": (SPEC.replace("name: small", "name: Big Node"), 3, "does not match"),
    "too small": (SPEC.replace("releaseNumber: 1", "releaseNumber: 0"), 5, "should be at least 1, but is 0"),
    "twice": (SPEC.replace("  - systemd", "  - systemd\n  - systemd"), 8, "`packages` names something twice"),
    "empty": (SPEC.replace("  - systemd\n", "").replace("packages:", "packages: []"), 8, "should not be empty"),
    "key twice": (SPEC + "name: other\n", 12, "this is not YAML: found duplicate key"),
    "not YAML": (SPEC + "a: [1\n", 13, "this is not YAML"),
    "not a mapping": ("- 1\n", 1, "a mapping of keys"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_spec_is_named_by_line_and_reason(case: str) -> None:
    text, line, reason = WRONG[case]
    with pytest.raises(SpecError) as caught:
        parse_spec(text.encode(), PLACE)
    assert str(caught.value).startswith(f"node.yaml:{line}: ")
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(SpecError, match=r"node\.yaml:2: this is not UTF-8 text"):
        parse_spec(b"a: 1\n\xff\xfe", PLACE)


def test_a_spec_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        load_spec(tmp_path / "none.yaml")


def test_a_small_spec_gets_the_defaults() -> None:
    spec = parse_spec(SPEC.encode(), PLACE)
    assert spec.sha256 == hashlib.sha256(SPEC.encode()).hexdigest()
    assert spec.suites == ("trixie", "trixie-security")
    assert spec.wanted == ("linux-image-cloud-amd64", "systemd")
    assert (spec.floor, spec.arch, spec.keep, spec.disk.root_mib) == (0, "amd64", ("identity", "agent"), 512)


def test_relative_paths_start_at_the_spec() -> None:
    spec = load_spec(EXAMPLES / "node-image-v1.yaml")
    assert {part.name: part.source for part in spec.go_parts} == {
        "kubelet": EXAMPLES.parent / "infra/tools/kubernetes",
        "pause": EXAMPLES.parent / "images/parts/pause",
    }
    assert spec.own_files == ("checks/test_node.py", "deploys/motd.py")


def test_the_examples_differ_as_the_demo_says() -> None:
    one, two, three = (load_spec(EXAMPLES / f"node-image-v{number}.yaml") for number in (1, 2, 3))
    assert [spec.release_number for spec in (one, two, three)] == [1, 2, 3]
    assert set(two.packages) > set(one.packages)
    assert two.kubelet_settings != one.kubelet_settings
    assert three.packages == two.packages
    assert "featureGates" in three.kubelet_settings


@pytest.mark.parametrize("name", ["node-image.schema.json", "node-image-lock.schema.json"])
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(load_schema(name))
