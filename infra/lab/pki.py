"""The lab's authorities and certificates, made once and kept.

Five authorities, because each answers another question, and none may answer for another: who is a user or node of the
cluster (`cluster`), who may talk to etcd (`etcd`), who is a machine's API and who may call it (`machine`), who is the
lab's enrolment service or image host (`web`). The service-account key signs tokens and nothing else.

The folder is made beside its place and renamed at the end, so it is whole or absent; it is 0700, keys in it are 0600.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sealwave.infra.errors import LabStateSpoiled
from sealwave.infra.lab.ports import LOOPBACK
from sealwave.signing.certs import (
    Authority,
    Issued,
    issue_client,
    issue_server,
    load_authority,
    make_authority,
)
from sealwave.signing.files import PRIVATE_FILE, make_private_folder, sync_folder, write_atomic

__all__ = ["DRIVER", "GUEST_VIEW_OF_HOST", "Pki", "ensure_pki"]

# QEMU's user networking shows the host's loopback to the guest at this address.
GUEST_VIEW_OF_HOST = "10.0.2.2"
# The cluster user as whom the rollout acts; infra/addon binds its rights.
DRIVER = "sealwave-driver"
AUTHORITIES = ("cluster", "etcd", "machine", "web")
# A lab that is started must outlive its longest use by a person in one go.
NEEDED_VALIDITY = timedelta(days=2)


@dataclass(frozen=True)
class Pki:
    """Where each certificate and key lies: NAME.pem and NAME.key in one folder."""

    folder: Path

    def certificate(self, name: str) -> Path:
        """The certificate file of this name."""
        return self.folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        """The private key file of this name."""
        return self.folder / f"{name}.key"

    def authority(self, name: str) -> Authority:
        """The authority of this name with its key, for signing."""
        ca = f"{name}-ca"
        return load_authority(self.certificate(ca).read_bytes(), self.key(ca).read_bytes())

    def authority_pem(self, name: str) -> bytes:
        """The authority's certificate, for those who are to trust it."""
        return self.certificate(f"{name}-ca").read_bytes()

    @property
    def service_account_public(self) -> Path:
        """The key that the API server checks service-account tokens with."""
        return self.folder / "service-account.pub"


def ensure_pki(folder: Path, *, now: datetime) -> Pki:
    """The lab's certificates, made when they are not there; raises LabStateSpoiled when they have run out."""
    pki = Pki(folder)
    if folder.is_dir():
        _require_valid(pki, now)
        return pki
    make_private_folder(folder.parent)
    # mkdtemp makes it 0700: no key is at any instant readable by others.
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _fill(Pki(temporary), now)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(folder.parent)
    return pki


def _fill(pki: Pki, now: datetime) -> None:
    authorities = {name: make_authority(f"sealwave lab {name} CA", now=now) for name in AUTHORITIES}
    for name, authority in authorities.items():
        _write(pki, f"{name}-ca", Issued(authority.pem, authority.key_pem))
    cluster, etcd, machine, web = (authorities[name] for name in AUTHORITIES)
    addresses = [LOOPBACK, GUEST_VIEW_OF_HOST]
    names = ["localhost", "kubernetes", "kubernetes.default.svc"]
    _write(pki, "apiserver", issue_server(cluster, common_name="kube-apiserver", dns=names, ips=addresses, now=now))
    _write(pki, "etcd", issue_server(etcd, common_name="etcd", dns=["localhost"], ips=addresses, now=now))
    _write(pki, "apiserver-etcd", issue_client(etcd, common_name="kube-apiserver", now=now))
    for name in ("enrolment", "images"):
        _write(
            pki, name, issue_server(web, common_name=f"sealwave lab {name}", dns=["localhost"], ips=addresses, now=now)
        )
    users = {
        "admin": ("sealwave-lab-admin", ["system:masters"]),
        "controller-manager": ("system:kube-controller-manager", []),
        "scheduler": ("system:kube-scheduler", []),
        "driver": (DRIVER, []),
    }
    for name, (user, groups) in users.items():
        _write(pki, name, issue_client(cluster, common_name=user, organizations=groups, now=now))
    for role in ("observer", "updater"):
        _write(pki, role, issue_client(machine, common_name=f"lab-{role}", organizations=[role], now=now))
    _write_service_account_key(pki)


def _write(pki: Pki, name: str, issued: Issued) -> None:
    write_atomic(pki.key(name), issued.key, mode=PRIVATE_FILE)
    write_atomic(pki.certificate(name), issued.certificate)


def _write_service_account_key(pki: Pki) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_atomic(pki.key("service-account"), private, mode=PRIVATE_FILE)
    write_atomic(pki.service_account_public, public)


def _require_valid(pki: Pki, now: datetime) -> None:
    for path in sorted(pki.folder.glob("*.pem")):
        try:
            ends = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        except (ValueError, OSError) as error:
            raise LabStateSpoiled(path, "is not a certificate") from error
        if ends < now.astimezone(UTC) + NEEDED_VALIDITY:
            raise LabStateSpoiled(path, f"runs out on {ends:%Y-%m-%d}")
