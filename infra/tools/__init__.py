"""Programs of the host that the lab and the tests run: found on PATH, or built from pinned Go modules.

`table` says which and in which versions, `build` finds or builds them, `plugin` unpacks Pulumi's Kubernetes plugin
where it cannot be downloaded, `host` names the Debian packages that must be there. What goes into an image is none of
this: that is a lock input.
"""

from sealwave.infra.tools.build import HostTools, ensure_tools
from sealwave.infra.tools.errors import HostUnusable, PluginSpoiled, ToolBuildFailed
from sealwave.infra.tools.host import Package, install, missing_packages, usable
from sealwave.infra.tools.plugin import ensure_plugin
from sealwave.infra.tools.table import TOOLS, Tool

__all__ = [
    "TOOLS",
    "HostTools",
    "HostUnusable",
    "Package",
    "PluginSpoiled",
    "Tool",
    "ToolBuildFailed",
    "ensure_plugin",
    "ensure_tools",
    "install",
    "missing_packages",
    "usable",
]
