"""The whole product on real machines, once: everything that `make demo` and `make demo-resume` show, in one run.

Three nodes boot from verified disks; the roll to v2 is killed with SIGKILL and resumed from the cluster; the broken v3
halts at its first node and is refused; v2 heals what it left. Each step checks what it claims.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from sealwave.infra.demo import checks
from sealwave.infra.demo.resume import ResumeScenario
from sealwave.infra.demo.run import Options, demo
from sealwave.infra.demo.scenario import Scenario
from sealwave.infra.progress import Progress
from sealwave.infra.settings import Settings

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# Seconds. 25 minutes under emulation on two cores; a hung machine must not take the whole run's time.
LIMIT = 45 * 60


class Everything(ResumeScenario):
    """Both demonstrations in one."""

    @property
    def steps(self) -> list[tuple[str, Callable[[], None]]]:
        """The killed and resumed roll, then the image that fails."""
        return [
            *super().steps,
            ("budgets said no", self.budgets),
            ("v3 fails at the first node", self.fail),
            ("v3 is refused until a person releases it", self.refuse),
            ("v2 heals the quarantined node", self.heal),
        ]

    def build(self) -> None:
        """All three images, unlike the resumed roll alone."""
        Scenario.build(self)

    def budgets(self) -> None:
        """The resumed rollout's journal tells of refused and granted evictions, before and after the kill."""
        tallies = [node.evictions for node in self.report.rollouts[0].outcome.nodes]
        assert sum(tally.granted for tally in tallies) > 0
        assert sum(tally.refused for tally in tallies) > 0


@pytest.mark.machine
@pytest.mark.timeout(LIMIT)
def test_everything_on_real_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = {version: EXAMPLES / f"node-image-{version}.yaml" for version in ("v1", "v2", "v3")}
    options = Options(tmp_path / "lab", tmp_path / "images", tmp_path / "demo", specs, scenario=Everything)
    # What is going on is worth seeing while it runs: half an hour of silence looks like a hang.
    with capsys.disabled():
        report = demo(options, Settings.from_environment(), Progress(Console(width=160)))
    assert report.final is not None
    checks.all_right(report.final, report.images["v2"].digest, step="the end")
    written = json.loads((tmp_path / "demo" / "report.json").read_text())
    assert [rollout["outcome"]["result"] for rollout in written["rollouts"]] == ["converged", "halted", "converged"]
    assert not written["failed"]
    left = subprocess.run(["/usr/bin/pgrep", "-f", str(tmp_path / "lab")], capture_output=True, text=True, check=False)
    assert left.stdout == ""
