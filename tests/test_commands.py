"""The commands that the README and CI name exist and are what they say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_command_of_the_documentation_exists() -> None:
    texts = [(ROOT / "README.md").read_text(), *(path.read_text() for path in (ROOT / "docs").rglob("*.md"))]
    named = {target for text in texts for target in re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE)}
    assert named <= _targets()


def test_help_lists_every_target() -> None:
    listed = subprocess.run(["make", "--silent", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == _targets()


def test_clean_keeps_what_cannot_be_made_again(tmp_path: Path) -> None:
    kept = {"build/images/v1.lock", "build/lab/keys/release.key"}
    gone = {
        "build/images/v1/uki.efi",
        "build/images/.v1.new/x",
        "build/lab/lab.lock",
        "build/demo/report.html",
        "dist/x",
    }
    for name in (*kept, *gone, ".mypy_cache/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    line = ["make", "--silent", "-f", str(ROOT / "Makefile"), "clean"]
    for _ in range(2):
        subprocess.run(line, cwd=tmp_path, check=True)
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == kept
    for name in ("build/images", "build/lab", "build"):
        shutil.rmtree(tmp_path / name)
        subprocess.run(line, cwd=tmp_path, check=True)


def test_ci_is_a_sound_script_that_calls_the_test_command() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in script.read_text()
    assert script.read_text().splitlines()[-1] == "make test"


def test_the_workflow_runs_the_same_and_pins_its_actions() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "run: .ci/run" in workflow
    uses = re.findall(r"uses: (\S+)", workflow)
    assert [action for action in uses if not re.search(r"@[0-9a-f]{40}$", action)] == []


def test_the_lock_holds_what_the_project_wants() -> None:
    normal = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    }
    wanted = re.findall(r'^ {4}"([\w.-]+)==([^"]+)",', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert wanted
    assert {
        name: version for name, version in wanted if normal.get(re.sub(r"[-_.]+", "-", name).lower()) != version
    } == {}, "run `make lock`"
