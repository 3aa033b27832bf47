"""Rolls one image through one pool of nodes. What differs between fleets is in the stack's configuration.

sealwave:credentials        the driver's kubeconfig, the machine API's certificates, the trust anchors (a folder)
sealwave:addonKubeconfig    the kubeconfig that may install the addon (a path); without it, it must be there
sealwave:image              source and digest of the wanted image
sealwave:pool               name, selector, waves; and what else `NodePool` takes (a source of its own where the
                            nodes reach the image folder by another address than this program)
"""

import signal

import pulumi

from sealwave.infra.components import ClusterAddon, ImageRelease, NodePool

# Pulumi ends the program with SIGINT when a resource failed; Python would answer with a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

config = pulumi.Config("sealwave")
image = config.require_object("image")
pool = config.require_object("pool")

addon = ClusterAddon("sealwave", kubeconfig=config.get("addonKubeconfig"))
release = ImageRelease("image", source=image["source"], digest=image["digest"])
settings = {"source": release.source} | pool
nodes = NodePool("nodes", **settings, digest=release.digest, opts=pulumi.ResourceOptions(depends_on=[addon]))

pulumi.export("version", release.version)
pulumi.export("nodes", nodes.nodes)
pulumi.export("journalHead", nodes.journal_head)
