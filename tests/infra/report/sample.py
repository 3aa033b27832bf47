"""A report as a demonstration writes it: one good rollout and one that halted."""

from collections.abc import Mapping
from typing import Any

V1, V2, V3 = (f"sha256:{digit * 64}" for digit in "123")
BEGIN = 1_780_000_000.0

STATES = {
    "Claimed": 24,
    "Cordoning": 1,
    "Quiescing": 2,
    "Evicting": 9,
    "Replacing": 6,
    "Booting": 70,
    "Verifying": 30,
    "Releasing": 8,
}


def _spans(node: str, begin: float, states: Mapping[str, float], last: str, end: float) -> list[dict[str, Any]]:
    found = []
    for state, seconds in states.items():
        found.append({"node": node, "state": state, "begin": begin, "end": begin + seconds})
        begin += seconds
    return [*found, {"node": node, "state": last, "begin": begin, "end": end}]


def _node(name: str, wave: int, **other: Any) -> dict[str, Any]:
    return {
        "node": name,
        "wave": wave,
        "state": "Done",
        "reason": "",
        "digest_before": V1,
        "digest": V2,
        "boot_before": "11111111-aaaa-4bbb-8ccc-000000000000",
        "boot": f"22222222-aaaa-4bbb-8ccc-00000000000{name[-1]}",
        "secure_boot": True,
        "root_hash": "ab" * 32,
        "times": STATES,
        "evictions": {"granted": 2, "refused": 3, "refusals": [], "pods": ["demo/service-a", "demo/service-b"]},
        "gates": {"kubelet": "Ready", "image": f"runs {V2}", "secure-boot": "on"},
        "drift": [],
    } | other


def report() -> dict[str, Any]:
    """The whole document."""
    total = 155.0
    rolled = [
        *_spans("node-1", BEGIN, STATES, "Done", BEGIN + 2 * total),
        *_spans("node-2", BEGIN + 152, STATES, "Done", BEGIN + 2 * total),
        *_spans("node-3", BEGIN + 152, STATES | {"Booting": 72}, "Done", BEGIN + 2 * total),
    ]
    halted = _spans("node-1", BEGIN, STATES | {"Releasing": 0, "Unwinding": 60}, "Failed", BEGIN + 240)
    nodes = [_node(f"node-{n}", 1 if n == 1 else 2) for n in (1, 2, 3)]
    outcome = {"pool": "workers", "fence": 1, "head": "cd" * 32, "records": 61, "reasons": [], "touched": True}
    bad = _node("node-1", 1, state="Failed", reason="kubelet: not Ready after 240 s", digest=V2, digest_before=V2)
    idle = [_node(f"node-{n}", 2, state="Pending", digest_before=None) for n in (2, 3)]
    return {
        "apiVersion": "sealwave.dev/v1",
        "kind": "DemoReport",
        "startedAt": BEGIN,
        "seconds": 1024.0,
        "accelerator": "tcg",
        "failed": "",
        "steps": [{"title": "host tools", "seconds": 1.0}, {"title": "lock and build the images", "seconds": 120.0}],
        "images": [
            {"name": "worker", "version": f"{n}.0.0", "digest": digest, "number": n}
            for n, digest in enumerate((V1, V2, V3), start=1)
        ],
        "notes": ["node-1 refused v3 and went back to v2; the other nodes were never touched."],
        "rollouts": [
            {
                "title": "v1 to v2",
                "exitStatus": 0,
                "seconds": 2 * total,
                "log": "pulumi-05-up.log",
                "outcome": outcome
                | {"result": "converged", "summary": "Pool workers: all 3 nodes run it.", "digest": V2, "nodes": nodes},
                "timeline": rolled,
            },
            {
                "title": "v2 to the broken v3",
                "exitStatus": 255,
                "seconds": 240.0,
                "log": "pulumi-06-up.log",
                "outcome": outcome
                | {"result": "halted", "summary": "Pool workers halted.", "digest": V3, "nodes": [bad, *idle]},
                "timeline": halted,
            },
        ],
        "final": {
            "pool": "workers",
            "digest": V2,
            "fence": 4,
            "head": "ef" * 32,
            "records": 120,
            "nodes": [
                {"node": f"node-{n}", "digest": V2, "secure_boot": True, "root_hash": "ab" * 32, "drift": []}
                | {"boot": f"22222222-aaaa-4bbb-8ccc-00000000000{n}"}
                for n in (1, 2, 3)
            ],
        },
    }
