import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from sealwave.infra.cli import rollout
from sealwave.infra.cli.__main__ import main
from sealwave.infra.cli.poolfile import read_pool
from sealwave.rollout.errors import BadInput, DigestRefused
from sealwave.rollout.model import Phase, Plan, PoolSpec, Wave
from tests.infra.provider.fakes import POOL, V1, V2, node, pool_status


def written(path: Path, document: Any) -> Path:
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(document, stream)
    return path


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return written(tmp_path / "pool.yaml", POOL)


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "connect", lambda *arguments, **named: None)


def test_a_pool_file_and_a_stack_file_describe_the_same_pool(tmp_path: Path, pool: Path) -> None:
    rest = {key: value for key, value in POOL.items() if key not in ("digest", "source")}
    image = {key: POOL[key] for key in ("digest", "source")}
    stack = written(tmp_path / "Pulumi.lab.yaml", {"config": {"sealwave:pool": rest, "sealwave:image": image}})
    assert read_pool(stack) == read_pool(pool)
    assert read_pool(pool).waves == (1, 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: [", "line 1 is no YAML"),
        ("- a", "has no settings"),
        ("config: {}", "a Pulumi stack without 'sealwave:pool'"),
        ("name: Workers", "name must be a name of lower-case letters"),
        (json.dumps({**POOL, "wave": [1]}), "there is no input wave"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_name(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "pool.yaml"
    path.write_text(content)
    with pytest.raises(BadInput, match=says) as caught:
        read_pool(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "plan", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_plan_shows_waves_and_what_is_right_already(
    monkeypatch: pytest.MonkeyPatch, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Plan(pool="workers", digest=V2, waves=(Wave(1, ("node-1",)), Wave(2, ("node-2",))), right=("node-3",))
    monkeypatch.setattr(rollout, "preview", lambda spec, fleet: made)
    assert main(["rollout", "plan", str(pool)]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("node-1", "node-2", "node-3", "runs it already"))
    assert main(["rollout", "plan", str(pool), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == made.to_json()
    monkeypatch.setattr(rollout, "preview", lambda spec, fleet: replace(made, waves=()))
    assert main(["rollout", "plan", str(pool)]) == 0
    assert "no node would be touched" in capsys.readouterr().out


def test_a_refused_plan_exits_1_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(spec: PoolSpec, fleet: object) -> Plan:
        raise DigestRefused(V2, reason="node-1 failed", when="today", who="pulumi")

    monkeypatch.setattr(rollout, "preview", refuse)
    assert main(["rollout", "plan", str(pool)]) == 1
    assert capsys.readouterr().err.startswith(f"sealwave: error: image {V2} is refused since today")


def test_status_shows_each_node_and_warns_of_what_could_not_be_read(
    monkeypatch: pytest.MonkeyPatch, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = replace(node("node-4", right=False), reachable=False, digest=None, problem="no answer")
    found = pool_status(
        node("node-1"),
        node("node-2", right=False, quarantined="the kubelet does not run"),
        node("node-3", right=False, drift=("/etc/x changed",)),
        silent,
        node("node-5", right=False, digest=V1),
        phase=Phase.Halted,
        warnings=["node-4 does not answer"],
    )
    found = replace(found, refused={V1: "node-2 failed"})
    monkeypatch.setattr(rollout, "pool_status", lambda spec, fleet: found)
    assert main(["rollout", "status", str(pool)]) == 0
    printed = capsys.readouterr()
    for words in ("right", "quarantined: the kubelet does not run", "drifted: /etc/x", "no answer", "another image"):
        assert words in printed.out
    assert f"refused: {V1} (node-2 failed)" in printed.out and "Halted" in printed.out
    assert "sealwave: warning: node-4 does not answer" in printed.err
    assert main(["rollout", "status", str(pool), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][0]["node"] == "node-1"


def test_release_digest_takes_a_reason(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    released: list[tuple[str, str]] = []
    monkeypatch.setattr(
        rollout, "release_digest", lambda fleet, digest, *, reason, who: released.append((digest, reason))
    )
    assert main(["rollout", "release-digest", V2]) == 2
    assert main(["rollout", "release-digest", V2, "--reason", "cable was loose"]) == 0
    assert released == [(V2, "cable was loose")]
    assert "may be rolled again" in capsys.readouterr().out
