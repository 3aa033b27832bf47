"""`sealwave image`: from a spec to a lock, from a lock to a signed image, and whether an image is what it says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from sealwave.images.build import build_image
from sealwave.images.debian import named_mirrors
from sealwave.images.resolve import Anchors, lock_image
from sealwave.images.seal import Sealer
from sealwave.images.steps import StepEvent
from sealwave.images.store import Store
from sealwave.images.verify import verify as check_image
from sealwave.infra.lab.pipeline import read_image
from sealwave.infra.progress import Progress
from sealwave.infra.settings import Settings
from sealwave.signing.keys import LabKeys

KEYS = Path("build/lab/keys")

_file = click.Path(dir_okay=False, path_type=Path)
_folder = click.Path(file_okay=False, path_type=Path)
_keys_option = click.option(
    "--keys",
    type=_folder,
    default=KEYS,
    show_default=True,
    help="The signing keys; what is missing of them is made.",
)


@click.group()
def image() -> None:
    """Lock, build and verify node images."""


@image.command()
@click.argument("spec", type=_file)
@click.option("--lock", "lock_path", type=_file, help="Where the lock is written.  [default: SPEC with .lock]")
@_keys_option
def lock(spec: Path, lock_path: Path | None, keys: Path) -> None:
    """Resolve SPEC into a lock, and fetch into the store everything that a build needs.

    This is the only step that asks the network; keep lock and store together, because mirrors drop old versions.
    """
    settings, progress = Settings.from_environment(), Progress()
    made = LabKeys.ensure(keys.absolute(), now=datetime.now(UTC))
    anchors = Anchors(
        release=made.public_path("release"), config=made.public_path("config"), secure_boot=made.certificate_path("db")
    )
    target = lock_path or spec.with_suffix(".lock")
    with progress.step(f"lock {spec.name}"):
        found = lock_image(
            spec.absolute(),
            target.absolute(),
            anchors=anchors,
            store=_store(settings),
            cache=settings.cache,
            mirrors=named_mirrors(settings.mirror, settings.security_mirror),
            report=progress.note,
        )
    click.echo(f"{target} sha256:{found.sha256}")


@image.command()
@click.argument("spec", type=_file)
@click.option("--lock", "lock_path", type=_file, help="The spec's lock.  [default: SPEC with .lock]")
@click.option("--out", type=_folder, help="The image folder.  [default: build/images/NAME-OF-SPEC]")
@_keys_option
def build(spec: Path, lock_path: Path | None, out: Path | None, keys: Path) -> None:
    """Build the signed image of SPEC from its lock and the store, offline; print its digest."""
    settings, progress = Settings.from_environment(), Progress()
    target = (out or Path("build/images") / spec.stem).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)

    def tell(event: StepEvent) -> None:
        progress.note(f"{event.step} {event.state}")

    with progress.step(f"build {spec.name}"):
        build_image(
            spec.absolute(),
            (lock_path or spec.with_suffix(".lock")).absolute(),
            store=_store(settings),
            cache=settings.cache,
            seal=Sealer(LabKeys.ensure(keys.absolute(), now=datetime.now(UTC))),
            out=target,
            progress=tell,
        )
    found = read_image(target)
    click.echo(f"{target} {found.name} {found.version} {found.digest}")


@image.command()
@click.argument("folder", type=_folder)
@click.option("--release-key", type=_file, multiple=True, help="A trusted release key.  [default: release.pub of KEYS]")
@click.option("--secure-boot", type=_file, multiple=True, help="A trusted certificate.  [default: db.pem of KEYS]")
@click.option("--keys", type=_folder, default=KEYS, show_default=True, help="Where the defaults of both are.")
def verify(folder: Path, release_key: tuple[Path, ...], secure_boot: tuple[Path, ...], keys: Path) -> None:
    """Check that FOLDER is the image that it says it is: signatures, every hash, no shell, no private key."""
    found = check_image(
        folder,
        release=[path.read_bytes() for path in release_key or (keys / "release.pub",)],
        secure_boot=[path.read_bytes() for path in secure_boot or (keys / "db.pem",)],
        report=lambda line: click.echo(f"  {line}"),
    )
    click.echo(f"{found.name} {found.version} {read_image(folder).digest}")


def _store(settings: Settings) -> Store:
    return Store(settings.cache / "store")
