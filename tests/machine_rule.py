"""In CI a machine test is run, or the run fails.

A test that boots machines may be skipped on a laptop without an emulator. Where CI=true a skip, or a deselection, would
let the one test that shows that everything works vanish without a word: there it counts as a failure.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from sealwave.infra.settings import Settings

__all__ = ["MachineRule", "pytest_configure"]


class MachineRule:
    """The pytest plugin."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Turn a machine test's skip into a failure that keeps the reason."""
        report = yield
        if report.skipped and _boots_machines(item) and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            reason = call.excinfo.value if call.excinfo is not None else "for no reason"
            report.longrepr = f"{item.nodeid}: a machine test may not be skipped in CI ({reason})"
        return report

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember the machine tests that were taken out."""
        self.lost += [item.nodeid for item in items if _boots_machines(item)]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Remember a module that skipped itself as a whole: nobody can tell which tests were in it."""
        if report.skipped:
            self.lost.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that would otherwise end well."""
        if self.lost and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests are missing, above the closing line."""
        for name in self.lost:
            terminalreporter.write_line(f"NOT RUN {name}: a machine test may not be left out in CI", red=True)


def pytest_configure(config: pytest.Config) -> None:
    """Put the rule in force where CI=true."""
    if Settings.from_environment().ci:
        config.pluginmanager.register(MachineRule(), "sealwave-machine-rule")


def _boots_machines(item: pytest.Item) -> bool:
    return item.get_closest_marker("machine") is not None
