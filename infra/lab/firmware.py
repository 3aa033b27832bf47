"""The machines' firmware: OVMF with Secure Boot that trusts our keys and nobody else's."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from virt.firmware.varstore import autodetect

from sealwave.infra.errors import ToolMissing
from sealwave.signing.keys import SECURE_BOOT_OWNER, SECURE_BOOT_ROLES, LabKeys

__all__ = ["Firmware", "enrol_keys"]

OVMF = Path("/usr/share/OVMF")


@dataclass(frozen=True)
class Firmware:
    """The firmware's code, which is shared, and the template of its variables, of which each machine has a copy."""

    code: Path = OVMF / "OVMF_CODE_4M.secboot.fd"
    variables: Path = OVMF / "OVMF_VARS_4M.fd"

    def require(self) -> None:
        """Raise ToolMissing unless both files are there."""
        for path in (self.code, self.variables):
            if not path.is_file():
                raise ToolMissing(str(path), "install it with `apt install ovmf`")


def enrol_keys(firmware: Firmware, keys: LabKeys, target: Path) -> None:
    """Write variables in which PK, KEK and db hold our certificates and Secure Boot is on.

    With PK set the firmware is in user mode, and only boots what db vouches for. No certificate of a vendor is there.
    """
    temporary = target.with_suffix(".new")
    shutil.copyfile(firmware.variables, temporary)
    store = autodetect.open_varstore(str(temporary))
    variables = store.get_varlist()
    for role in SECURE_BOOT_ROLES:
        variables.add_cert(role, str(SECURE_BOOT_OWNER), str(keys.certificate_path(role)), True)
    variables.enable_secureboot()
    store.write_varstore(str(temporary), variables)
    temporary.replace(target)
