"""What can go wrong in a rollout, one class per cause that a caller treats differently.

    RolloutError
    ├── BadInput                the caller's words are wrong: pool, waves, selector (exit code 2)
    │   └── DigestMalformed
    ├── PlanRefused             the plan is understood and may not be made
    │   ├── SelectorMatchesNothing
    │   ├── ControlPlaneRefused
    │   └── DigestRefused
    ├── JournalBroken           a record of the journal is not what its successor says it was
    ├── JournalTooNew           written by a later version of this program
    ├── Conflict                compare-and-swap lost: someone wrote first (never leaves this folder)
    ├── Fenced                  another driver took a newer fence; this one must stop
    ├── ClusterError            the API server does not answer, or answers with no
    │   ├── ClusterUnreachable
    │   ├── ClusterForbidden    which right is missing, for which resource
    │   └── AddonMissing        the definitions of Ledger and Journal are not installed
    ├── CredentialsMissing      a file that the driver needs is absent or not what it should be
    └── MachineError
        ├── MachineUnreachable  no answer, or not over a connection that we trust
        └── MachineRefused      the machine answered with a problem document

Every message is one sentence for a person, and says what to do.
"""

from __future__ import annotations


class RolloutError(Exception):
    """Root of this folder's errors; its text is one sentence for a person."""


class BadInput(RolloutError):
    """The caller's words are wrong; nothing was read or touched."""


class DigestMalformed(BadInput):
    """An image digest that is not ``sha256:`` and 64 lower-case hex digits."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"{digest!r} is not an image digest: write sha256: followed by 64 lower-case hex digits")


class PlanRefused(RolloutError):
    """The plan is understood and may not be made."""


class SelectorMatchesNothing(PlanRefused):
    """No node carries the pool's labels."""

    def __init__(self, pool: str, selector: str) -> None:
        self.pool, self.selector = pool, selector
        super().__init__(
            f"pool {pool}: no node carries the labels {selector}: correct the selector, or label the nodes first"
        )


class ControlPlaneRefused(PlanRefused):
    """The selector reaches control-plane nodes that the pool does not name."""

    def __init__(self, pool: str, nodes: tuple[str, ...]) -> None:
        self.pool, self.nodes = pool, nodes
        super().__init__(
            f"pool {pool}: {', '.join(nodes)} belong to the control plane: narrow the selector, "
            "or name them in controlPlane if you mean it"
        )


class DigestRefused(PlanRefused):
    """The image failed before and nobody has released it since."""

    def __init__(self, digest: str, *, reason: str, when: str, who: str) -> None:
        self.digest, self.reason, self.when, self.who = digest, reason, when, who
        super().__init__(
            f"image {digest} is refused since {when} by {who} ({reason}): choose another image, "
            f"or release it with: sealwave rollout release-digest {digest} --reason ..."
        )


class JournalBroken(RolloutError):
    """A record was changed, removed or reordered after it was written."""

    def __init__(self, journal: str, record: int, detail: str) -> None:
        self.journal, self.record, self.detail = journal, record, detail
        super().__init__(
            f"journal {journal}: record {record} {detail}: find out who wrote to it and restore it; "
            "nothing is rolled from a journal that cannot be trusted"
        )


class JournalTooNew(RolloutError):
    """A record format that this version does not know."""

    def __init__(self, journal: str, record: int, version: object) -> None:
        self.journal, self.record, self.version = journal, record, version
        super().__init__(
            f"journal {journal}: record {record} has format {version!r}, newer than this sealwave: update sealwave"
        )


class Conflict(RolloutError):
    """Compare-and-swap lost; look again before acting (never a blind retry)."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} was changed by someone else in the meantime: it has to be read again")


class Fenced(RolloutError):
    """Another driver took a newer fence; this one may not act any more."""

    def __init__(self, pool: str, *, ours: int, current: int, holder: str = "") -> None:
        self.pool, self.ours, self.current, self.holder = pool, ours, current, holder
        by = f" by {holder}" if holder else ""
        super().__init__(
            f"pool {pool}: another driver took over{by} (fence {current}, ours was {ours}): "
            "this one stopped; follow the newer one"
        )


class ClusterError(RolloutError):
    """The API server answered with an error that is not one of the kinds below; ``status`` is HTTP's."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class ClusterUnreachable(ClusterError):
    """The API server cannot be reached, or not over a connection that we trust."""

    def __init__(self, server: str, why: str) -> None:
        self.server, self.why = server, why
        super().__init__(f"the API server {server} does not answer ({why}): check the kubeconfig and the network")


class ClusterForbidden(ClusterError):
    """The driver's user lacks a right."""

    def __init__(self, verb: str, resource: str, why: str) -> None:
        self.verb, self.resource, self.why = verb, resource, why
        super().__init__(
            f"the kubeconfig's user may not {verb} {resource} ({why}): bind it to the ClusterRole sealwave-driver"
        )


class AddonMissing(ClusterError):
    """The custom resource definitions of Ledger and Journal are not installed."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        super().__init__(f"the cluster does not know {resource}: install the sealwave add-on (infra/addon) first")


class CredentialsMissing(RolloutError):
    """A file that the driver needs is absent or unreadable."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path} {why}: point the driver at a folder with kubeconfig, machine-ca.pem and certificates")


class MachineError(RolloutError):
    """A machine did not do what it was asked."""


class MachineUnreachable(MachineError):
    """No answer in time, or not over a connection that we trust."""

    def __init__(self, node: str, url: str, why: str) -> None:
        self.node, self.url, self.why = node, url, why
        super().__init__(f"the machine API of {node} at {url} does not answer ({why}): check its power and network")


class MachineRefused(MachineError):
    """The machine answered with a problem document; ``code`` is its stable name."""

    def __init__(self, node: str, *, code: str, detail: str, status: int, fence: int | None = None) -> None:
        self.node, self.code, self.detail, self.status, self.fence = node, code, detail, status, fence
        super().__init__(f"{node} refused ({code}): {detail}")
