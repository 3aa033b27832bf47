"""The rule that CI does not leave a machine test out."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.machine
def test_boots():
    pytest.skip("no emulator")

def test_other():
    pytest.skip("not today")

def test_good():
    pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeini("[pytest]\nmarkers = machine: boots\n")
    pytester.makepyfile(TESTS)
    pytester.plugins = ["tests.machine_rule"]
    return pytester


def _outcome(run: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return run.runpytest_inprocess("-p", "tests.machine_rule", *arguments)


def test_a_laptop_may_skip(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "false")
    result = _outcome(run)
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == 0


def test_ci_may_not_skip(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = _outcome(run)
    result.assert_outcomes(passed=1, skipped=1, failed=1)
    result.stdout.fnmatch_lines(["*a machine test may not be skipped in CI (no emulator)*"])
    assert result.ret == 1


@pytest.mark.parametrize(
    "words", [("-m", "not machine"), ("-k", "good"), ("--deselect", "test_ci_may_not_deselect.py")]
)
def test_ci_may_not_deselect(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]) -> None:
    monkeypatch.setenv("CI", "true")
    result = _outcome(run, *words)
    result.stdout.fnmatch_lines(["NOT RUN *test_boots: a machine test may not be left out in CI", "*deselected*"])
    assert result.ret == 1


def test_ci_may_not_skip_a_whole_module(run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    run.makepyfile(test_whole='import pytest\npytest.skip("no emulator", allow_module_level=True)\n')
    result = _outcome(run, "test_whole.py")
    result.stdout.fnmatch_lines(["NOT RUN test_whole.py: *"])
    assert result.ret == 1
