import json
from pathlib import Path

import pytest

from sealwave.infra.cli.__main__ import main
from sealwave.signing.files import write_atomic
from tests.simulated.machine import SimulatedMachine, Trust, make_image


def credentials(folder: Path, trust: Trust) -> Path:
    folder.mkdir()
    issued = trust.client("observer")
    files = {
        "machine-ca.pem": trust.machine_ca.pem,
        "observer.pem": issued.certificate,
        "observer.key": issued.key,
    }
    for name, content in files.items():
        write_atomic(folder / name, content, mode=0o600)
    return folder


def test_each_question_prints_the_node_s_own_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trust = Trust.make()
    image = make_image(tmp_path / "v1", version="1", release=trust.release)
    folder = credentials(tmp_path / "credentials", trust)
    with SimulatedMachine("node-1", tmp_path / "node-1", trust=trust, image=image) as machine:
        options = ["--url", machine.url, "--credentials", str(folder)]
        answers = {}
        for question in ("status", "slots", "drift", "checks", "version"):
            assert main(["node", question, "node-1", *options]) == 0
            answers[question] = json.loads(capsys.readouterr().out)
        assert answers["status"]["digest"] == image.digest
        assert answers["slots"]["running"] == "a"
        assert answers["drift"] == {"drift": []}
        # Another name behind the same address: the certificate does not prove it.
        assert main(["node", "status", "node-2", *options]) == 1
        assert "node-2" in capsys.readouterr().err
    assert main(["node", "status", "node-1", *options]) == 1
    assert "does not answer" in capsys.readouterr().err
    (folder / "observer.key").unlink()
    assert main(["node", "status", "node-1", *options]) == 1
    assert "observer.key is no file" in capsys.readouterr().err
