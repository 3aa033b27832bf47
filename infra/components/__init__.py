"""What a Pulumi program in Python writes: the provider's resources as classes, and components made of them.

Law: these classes only name things and order them; they read no file and no cluster, except `ClusterAddon`, which
reads the YAML that this distribution ships.
"""

from sealwave.infra.components.addon import ClusterAddon
from sealwave.infra.components.resources import ImageRelease, NodePool

__all__ = ["ClusterAddon", "ImageRelease", "NodePool"]
