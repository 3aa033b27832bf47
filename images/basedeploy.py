"""The base deploy: run by pyinfra inside the tree, never imported. It writes what `configure.settings` says.

Units are enabled by links, as `systemctl enable` would make them, because nothing runs in a tree that is being built.
"""

import json
from io import StringIO
from pathlib import Path

from pyinfra.operations import files, server

settings = json.loads(Path("settings.json").read_text(encoding="utf-8"))

for path, text in sorted(settings["texts"].items()):
    files.put(name=f"Write {path}", src=StringIO(text), dest=path, mode="644", user="root", group="root")

for key, value in sorted(settings["release"].items()):
    files.line(
        name=f"Say {key} in os-release", path="/usr/lib/os-release", line=f"^{key}=.*$", replace=f'{key}="{value}"'
    )

for unit in settings["mask"]:
    files.link(
        name=f"Mask {unit}", path=f"/etc/systemd/system/{unit}", target="/dev/null", force=True, force_backup=False
    )

if settings["enable"]:
    server.shell(
        name="Enable units",
        commands=[f"systemctl --root=/ enable {unit}" for unit in settings["enable"]],
    )
