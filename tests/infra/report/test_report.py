"""The report: every fact is on the page, nothing on it is taken as markup, and the drawing fits."""

import io
import json
from html.parser import HTMLParser
from pathlib import Path

from rich.console import Console

from sealwave.infra.report import summary_table, write_report
from sealwave.infra.report.page import render
from sealwave.infra.report.timeline import LEFT, WIDTH, timeline
from tests.infra.report import sample


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def _read(page: str) -> _Text:
    parser = _Text()
    parser.feed(page)
    return parser


def test_both_files_are_written_and_agree(tmp_path: Path) -> None:
    report = sample.report()
    page = write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    shown = " ".join(_read(page.read_text()).words)
    for word in (
        "node-3",
        "image: runs worker 2.0.0",
        "2 granted, 3 refused with 429",
        "ef" * 32,
        "kubelet: not Ready after 240 s",
    ):
        assert word in shown
    assert "Every step was seen to do what it claims." in shown


def test_a_reason_is_never_markup() -> None:
    report = sample.report()
    report["failed"] = "<script>alert(1)</script>"
    assert "script" not in _read(render(report)).tags


def test_an_empty_report_has_a_page() -> None:
    report = sample.report() | {"rollouts": [], "final": None, "failed": "qemu is missing", "images": [], "steps": []}
    assert "It did not reach its end: qemu is missing" in " ".join(_read(render(report)).words)


def test_bars_lie_side_by_side_within_the_drawing() -> None:
    drawing = timeline(sample.report()["rollouts"][0])
    assert [lane.node for lane in drawing.lanes] == ["node-1", "node-2", "node-3"]
    for lane in drawing.lanes:
        for before, after in zip(lane.bars, lane.bars[1:], strict=False):
            assert abs(before.x + before.width - after.x) < 0.1
        assert lane.bars[0].x >= LEFT
        assert lane.bars[-1].x + lane.bars[-1].width <= WIDTH + 0.1
    assert len(drawing.ticks) <= 11


def test_the_table_fits_a_narrow_terminal() -> None:
    output = io.StringIO()
    Console(file=output, width=100).print(summary_table(sample.report()))
    shown = output.getvalue()
    assert "worker 2.0.0" in shown
    assert "v2 to the broken v3, node-1: kubelet: not Ready after 240 s" in shown.replace("\n", " ")
    assert max(len(line) for line in output.getvalue().splitlines()) <= 100


def test_a_command_keeps_the_digest_that_it_needs() -> None:
    rollout = dict(sample.report()["rollouts"][0])
    said = f"{sample.V1} failed; sealwave rollout release-digest {sample.V1} --reason x"
    rollout["outcome"] = rollout["outcome"] | {"summary": said}
    page = render({**sample.report(), "rollouts": [rollout]})
    assert f"worker 1.0.0 failed; sealwave rollout release-digest {sample.V1} --reason x" in page
