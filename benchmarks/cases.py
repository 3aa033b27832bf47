"""The measurements: one row each, with how much work one run does.

A case is made by a function without arguments that prepares everything and returns what is timed.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwave.images.agent import verity
from sealwave.rollout import journal
from sealwave.rollout.ledger import Ledger
from sealwave.rollout.machine import MachineStatus
from sealwave.rollout.model import Node, PoolSpec
from sealwave.rollout.plan import plan
from sealwave.signing import authenticode, dsse
from sealwave.signing.keys import SigningKey

__all__ = ["CASES", "Case"]

_MIB = 1024 * 1024
_TYPE = "application/vnd.example+json"


@dataclass(frozen=True)
class Case:
    """One measurement: `work` units of `unit` are done by each call of what `prepare` returns."""

    name: str
    work: float
    unit: str
    prepare: Callable[[], Callable[[], object]]


def _verify_envelope() -> Callable[[], object]:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    envelope = dsse.sign(b"x" * 200_000, payload_type=_TYPE, signer=key.signer)
    return lambda: dsse.verify(envelope, payload_type=_TYPE, keys=[key.public_pem])


def _digest_executable() -> Callable[[], object]:
    headers = bytearray(1024)
    headers[:2], headers[0x3C:0x40], headers[0x40:0x44] = b"MZ", struct.pack("<I", 0x40), b"PE\0\0"
    struct.pack_into("<H", headers, 0x40 + 24, 0x20B)
    struct.pack_into("<I", headers, 0x40 + 24 + 108, 16)
    executable = bytes(headers) + os.urandom(64 * _MIB)
    return lambda: authenticode.pe_digest(executable)


def _check_blocks() -> Callable[[], object]:
    data = os.urandom(64 * _MIB)
    blocks = [data[at : at + verity.BLOCK_SIZE] for at in range(0, len(data), verity.BLOCK_SIZE)]
    digests = [verity.block_digest(block) for block in blocks]

    def check() -> bool:
        return all(verity.block_digest(block) == digest for block, digest in zip(blocks, digests, strict=True))

    return check


def _plan_fleet() -> Callable[[], object]:
    new, old = (f"sha256:{letter * 64}" for letter in "ab")
    pool = PoolSpec(
        name="workers", selector={"pool": "workers"}, digest=new, source="https://images.example", waves=(50,)
    )
    nodes = [Node(name=f"node-{number:05}", labels={"pool": "workers"}) for number in range(5000)]
    machines = {node.name: MachineStatus(machine=node.name, boot_id="1", digest=old) for node in nodes}
    return lambda: plan(pool, nodes, machines, Ledger())


def _verify_journal() -> Callable[[], object]:
    entries = [journal.Entry(kind="state", node=f"node-{number}", data={"state": "Done"}) for number in range(5000)]
    end, records = journal.Chain().extend(entries, at=0.0, fence=1)
    lines = [record.line for record in records]
    return lambda: journal.verify(lines, journal="bench", head=end.head)


CASES: tuple[Case, ...] = (
    Case("verify an envelope of 200 kB", 1, "envelopes", _verify_envelope),
    Case("Authenticode digest of a UKI", 64, "MiB", _digest_executable),
    Case("check dm-verity blocks", 64, "MiB", _check_blocks),
    Case("plan a fleet", 5000, "nodes", _plan_fleet),
    Case("verify a journal's chain", 5000, "records", _verify_journal),
)
