"""The provider's resources as Python classes."""

from collections.abc import Mapping, Sequence

import pulumi


class ImageRelease(pulumi.CustomResource):
    """A released node image whose digest and signature were verified."""

    def __init__(
        self,
        resource_name: str,
        *,
        source: pulumi.Input[str],
        digest: pulumi.Input[str],
        release_key: pulumi.Input[str] | None = None,
        images_ca: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Name an image.

        Args:
            resource_name: its name in the Pulumi program.
            source: the image folder's address, beginning with https://.
            digest: `sha256:` and the SHA-256 of its `image.json`.
            release_key: the path of the release key's public half; by default `release.pub` of the credentials folder.
            images_ca: the path of the image host's authority; by default `images-ca.pem` of the credentials folder.
            opts: Pulumi's options.
        """
        properties = {
            "source": source,
            "digest": digest,
            "releaseKey": release_key,
            "imagesCA": images_ca,
            "name": None,
            "version": None,
            "releaseNumber": None,
            "rootHash": None,
        }
        super().__init__("sealwave:index:ImageRelease", resource_name, properties, opts)

    @property
    @pulumi.getter
    def source(self) -> pulumi.Output[str]:
        """The image folder's address."""
        found: pulumi.Output[str] = pulumi.get(self, "source")
        return found

    @property
    @pulumi.getter
    def digest(self) -> pulumi.Output[str]:
        """The verified digest."""
        found: pulumi.Output[str] = pulumi.get(self, "digest")
        return found

    @property
    @pulumi.getter
    def version(self) -> pulumi.Output[str]:
        """The image's version, as its manifest says."""
        found: pulumi.Output[str] = pulumi.get(self, "version")
        return found

    @property
    @pulumi.getter(name="releaseNumber")
    def release_number(self) -> pulumi.Output[float]:
        """The number that orders the image's releases."""
        found: pulumi.Output[float] = pulumi.get(self, "release_number")
        return found

    @property
    @pulumi.getter(name="rootHash")
    def root_hash(self) -> pulumi.Output[str]:
        """The dm-verity root hash that every node of this image reports."""
        found: pulumi.Output[str] = pulumi.get(self, "root_hash")
        return found


class NodePool(pulumi.CustomResource):
    """A set of nodes and the image that they run; changing the image starts or resumes a rollout."""

    def __init__(
        self,
        resource_name: str,
        *,
        name: pulumi.Input[str],
        selector: pulumi.Input[Mapping[str, pulumi.Input[str]]],
        digest: pulumi.Input[str],
        source: pulumi.Input[str],
        waves: pulumi.Input[Sequence[pulumi.Input[int]]],
        machines: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
        budget: pulumi.Input[int] | None = None,
        deadlines: pulumi.Input[Mapping[str, pulumi.Input[float]]] | None = None,
        drain: pulumi.Input[Mapping[str, pulumi.Input[bool]]] | None = None,
        control_plane: pulumi.Input[Sequence[pulumi.Input[str]]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Say which nodes run which image.

        Args:
            resource_name: its name in the Pulumi program.
            name: the pool's name in the cluster; its journal bears it.
            selector: the labels of the pool's nodes.
            digest: the image's digest, from an `ImageRelease`.
            source: the image folder's address.
            waves: how many nodes each wave takes; the last number repeats until every node is done.
            machines: the machine API's address by node name; by default port 9443 of the node's internal address.
            budget: how many nodes may be away at once, broken ones included; by default as many as the largest wave.
            deadlines: seconds that a node may stay in a state, and windows of the gates; the schema names them.
            drain: what may be evicted beyond pods that a controller brings back: `naked`, `emptyDir`.
            control_plane: control-plane nodes that are meant to be rolled.
            opts: Pulumi's options.
        """
        properties = {
            "name": name,
            "selector": selector,
            "digest": digest,
            "source": source,
            "waves": waves,
            "machines": machines,
            "budget": budget,
            "deadlines": deadlines,
            "drain": drain,
            "controlPlane": control_plane,
            "nodes": None,
            "journalHead": None,
        }
        super().__init__("sealwave:index:NodePool", resource_name, properties, opts)

    @property
    @pulumi.getter
    def nodes(self) -> pulumi.Output[Mapping[str, Mapping[str, str]]]:
        """What each node ran when the pool was last looked at."""
        found: pulumi.Output[Mapping[str, Mapping[str, str]]] = pulumi.get(self, "nodes")
        return found

    @property
    @pulumi.getter(name="journalHead")
    def journal_head(self) -> pulumi.Output[str]:
        """The hash of the journal's newest record."""
        found: pulumi.Output[str] = pulumi.get(self, "journal_head")
        return found
