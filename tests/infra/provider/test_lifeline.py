import threading

import pytest

from sealwave.infra.provider.lifeline import EXIT_ORPHANED, watch_parent


@pytest.mark.parametrize(("busy_looks", "name"), [(0, "idle"), (2, "reaches its hold"), (1000, "never ends")])
def test_an_orphan_holds_and_ends(busy_looks: int, name: str) -> None:
    parents = iter([100, 100, 100, 1])
    events: list[str] = []
    left = threading.Event()
    looks = iter(range(busy_looks))

    def leave(status: int) -> None:
        events.append(f"left {status}")
        left.set()

    thread = watch_parent(
        lambda: events.append("hold"),
        lambda: next(looks, None) is not None,
        parent=lambda: next(parents),
        leave=leave,
        poll=0.001,
        grace=0.02,
    )
    assert left.wait(10), name
    thread.join(10)
    assert events == ["hold", f"left {EXIT_ORPHANED}"]
