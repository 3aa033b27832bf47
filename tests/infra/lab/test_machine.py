"""Machines: what is decided without starting one."""

import struct
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from virt.firmware.varstore import autodetect

from sealwave.images.agent.config import read_blob
from sealwave.infra.lab.accelerator import TCG, kernel_of
from sealwave.infra.lab.config import Surroundings, machine_config, signed_disk
from sealwave.infra.lab.firmware import Firmware, enrol_keys
from sealwave.infra.lab.joining import BootstrapToken
from sealwave.infra.lab.machine import Machine, MachineSpec
from sealwave.infra.lab.pki import ensure_pki
from sealwave.signing.keys import LabKeys

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_configuration_disk_is_what_a_node_accepts(tmp_path: Path) -> None:
    keys = LabKeys.ensure(tmp_path / "keys", now=NOW)
    pki = ensure_pki(tmp_path / "pki", now=NOW)
    authorities = [pki.authority_pem(name) for name in ("cluster", "machine", "web")]
    around = Surroundings("https://10.0.2.2:1", "https://10.0.2.2:2", *authorities)
    token = BootstrapToken.generate()
    config = machine_config(around, machine="node-2", number=2, token=token, secret="s" * 43)
    disk = signed_disk(config, signer=keys.config.signer, public=keys.config.public_pem)
    assert len(disk) % 512 == 0
    read = read_blob(disk, key=keys.config.public_pem)
    assert (read.machine, read.bootstrap_token, read.pod_cidr) == ("node-2", str(token), "10.244.2.0/24")


@pytest.mark.machine
def test_the_firmware_trusts_our_keys_alone(tmp_path: Path) -> None:
    keys = LabKeys.ensure(tmp_path / "keys", now=NOW)
    enrol_keys(Firmware(), keys, tmp_path / "variables.fd")
    variables = autodetect.open_varstore(str(tmp_path / "variables.fd")).get_varlist()
    for role in ("PK", "KEK", "db"):
        certificates = [entry for block in variables[role].sigdb for entry in block]
        assert len(certificates) == 1
    assert bytes(variables["SecureBootEnable"].data) == b"\1"


def test_nothing_secret_is_an_argument_and_addresses_differ(tmp_path: Path) -> None:
    specs = [MachineSpec(f"node-{n}", n, UUID(int=n), 9000 + n) for n in (1, 2)]
    assert specs[0].address != specs[1].address
    arguments = " ".join(Machine(specs[0], tmp_path, accelerator=TCG)._arguments())
    assert "hostfwd=tcp:127.0.0.1:9001-:9443" in arguments
    assert "secure,value=on" in arguments.replace("property=", "")
    assert "configuration.img" in arguments


def test_the_kernel_inside_a_unified_image_is_found() -> None:
    kernel = b"kernel" * 100
    header = 0x80
    image = bytearray(0x400)
    struct.pack_into("<I", image, 0x3C, header)
    struct.pack_into("<6xH12xH", image, header, 2, 16)
    rows = header + 24 + 16
    struct.pack_into("<8sIIII", image, rows, b".osrel", 4, 0, 512, 0x200)
    struct.pack_into("<8sIIII", image, rows + 40, b".linux", len(kernel), 0, 1024, 0x400)
    assert kernel_of(bytes(image) + kernel.ljust(1024, b"\0")) == kernel
    with pytest.raises(ValueError, match="PE"):
        kernel_of(b"no")
