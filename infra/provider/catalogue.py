"""Which resources the provider has."""

from collections.abc import Mapping

from sealwave.infra.provider import nodepool, release
from sealwave.infra.provider.config import Settings
from sealwave.infra.provider.fleet import LiveFleet
from sealwave.infra.provider.resource import Resource


def resources_for(settings: Settings) -> Mapping[str, Resource]:
    """Return the resources by Pulumi type token."""
    return {
        release.TOKEN: release.ImageRelease(settings),
        nodepool.TOKEN: nodepool.NodePool(LiveFleet(settings)),
    }
