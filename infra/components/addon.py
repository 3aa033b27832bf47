"""Installs what the driver needs in a cluster: its two resource definitions and the rights of its user."""

import shutil
from pathlib import Path
from typing import Any

import pulumi
from ruamel.yaml import YAML

PLUGIN = "pulumi-resource-kubernetes"
"""The plugin's executable; Pulumi takes it from PATH, or downloads it where it may."""

_TAKE_OVER = {"pulumi.com/patchForce": "true"}
"""Lets Pulumi own fields that `sealwave lab up` or kubectl wrote first; else a later version would be a conflict."""

_MANIFESTS = Path(__file__).resolve().parent.parent / "addon"


class ClusterAddon(pulumi.ComponentResource):
    """The definitions `Ledger` and `Journal` and the role of the user `sealwave-driver`, by pulumi-kubernetes.

    Where its plugin is not to be had, nothing is installed and a sentence says so: `sealwave lab up` installs the same
    files, and so does `kubectl apply -f`.
    """

    def __init__(
        self, resource_name: str, *, kubeconfig: str | None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Install the addon.

        Args:
            resource_name: its name in the Pulumi program.
            kubeconfig: the path of a kubeconfig whose user may create definitions and roles; None installs nothing.
            opts: Pulumi's options.
        """
        super().__init__("sealwave:index:ClusterAddon", resource_name, None, opts)
        if kubeconfig is None:
            pulumi.log.info("no kubeconfig is given for the definitions of sealwave.dev, so they must be there", self)
        elif shutil.which(PLUGIN) is None:
            pulumi.log.info(
                f"{PLUGIN} is not on PATH, so Pulumi does not install the definitions of sealwave.dev; "
                f"`sealwave lab up` does, and so does `kubectl apply -f {_MANIFESTS}`",
                self,
            )
        else:
            self._install(kubeconfig)
        self.register_outputs({})

    def _install(self, kubeconfig: str) -> None:
        """Make one Kubernetes resource of each document of the shipped YAML."""
        # The import costs a second and needs the plugin to be of use.
        import pulumi_kubernetes as kubernetes

        provider = kubernetes.Provider(
            f"{self._name}-cluster",
            kubeconfig=kubeconfig,
            # Another path or address of the same cluster must not replace what is installed in it.
            cluster_identifier=self._name,
            # What `sealwave lab up` or an earlier stack has left behind is taken over, not an error.
            upsert_existing_objects=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Not by `yaml.ConfigFile` and its kind: they make their resources later, so that what depends on the addon does
        # not wait for them, and a file's path becomes part of a resource's name, so that the same program in another
        # folder would replace the definitions and with them every journal.
        for document in _documents():
            metadata, kind = document["metadata"], document["kind"]
            pulumi.CustomResource(
                f"kubernetes:{document['apiVersion']}:{kind}",
                f"{self._name}-{metadata['name']}-{kind.lower()}",
                {**document, "metadata": {**metadata, "annotations": _TAKE_OVER}},
                pulumi.ResourceOptions(
                    parent=self,
                    provider=provider,
                    # `pulumi destroy` leaves them: their journals are the evidence of what was done to each node.
                    retain_on_delete=kind == "CustomResourceDefinition",
                ),
            )


def _documents() -> list[dict[str, Any]]:
    """The shipped YAML's documents."""
    yaml = YAML(typ="safe", pure=True)
    texts = [path.read_text("utf-8") for path in sorted(_MANIFESTS.glob("*.yaml"))]
    return [document for text in texts for document in yaml.load_all(text) if document]
