"""`sealwave:index:ImageRelease`: an image whose signature and digest were verified.

The inputs name it (`source`, `digest`) and say whom to trust (`releaseKey`, `imagesCA`: paths, by default the files of
the credentials folder). The outputs are what the signed manifest says. Checking verifies, at each `pulumi up`.
"""

from collections.abc import Sequence
from pathlib import Path

from sealwave.infra.errors import InfraError
from sealwave.infra.provider import inputs as read
from sealwave.infra.provider.config import Settings
from sealwave.infra.provider.errors import SettingsError
from sealwave.infra.provider.imagefolder import Release, verified_release
from sealwave.infra.provider.resource import Change, Difference, Failure, Session, Values
from sealwave.infra.provider.values import UNKNOWN
from sealwave.signing.errors import SigningError

TOKEN = "sealwave:index:ImageRelease"  # noqa: S105  a type token, no secret
_INPUTS = ("source", "digest", "releaseKey", "imagesCA")


class ImageRelease:
    """Answers Pulumi's calls about an image release."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self, inputs: Values) -> tuple[Values, Sequence[Failure]]:
        """Fill in the trust files and verify the image; what cannot be verified is a failure of `source`."""
        filled = {**self._defaults(), **{key: value for key, value in inputs.items() if value is not None}}
        failures = [
            *read.unknown_keys(inputs, _INPUTS),
            *read.text(filled, "source", read.HTTPS, "the image folder's address, beginning with https://"),
            *read.text(filled, "digest", read.DIGEST, 'the image\'s digest, "sha256:" and 64 hex digits'),
        ]
        if failures or any(value is UNKNOWN for value in filled.values()):
            return filled, failures
        try:
            self._verify(filled)
        except (InfraError, SigningError) as error:
            return filled, [Failure("source", str(error))]
        return filled, []

    def diff(self, session: Session, *, old: Values, new: Values) -> Sequence[Difference]:
        """Compare the inputs: another digest is another release."""
        return [Difference(key, Change.UPDATE) for key in _INPUTS if old.get(key) != new.get(key)]

    def preview(self, session: Session, *, new: Values) -> Values:
        """Verify already now, so that the preview shows what the image is."""
        if any(value is UNKNOWN for value in new.values()):
            return {**new, **dict.fromkeys(("name", "version", "releaseNumber", "rootHash"), UNKNOWN)}
        return self._outputs(new)

    def apply(self, session: Session, *, new: Values) -> tuple[str, Values]:
        """Verify and give out what the manifest says; the id is the digest's first digits."""
        outputs = self._outputs(new)
        return str(new["digest"])[:19], outputs

    def read(self, session: Session, *, old: Values) -> Values:
        """Return what was verified; a release never changes."""
        return old

    def delete(self, session: Session, *, old: Values) -> None:
        """Forget it; the image folder is not ours to delete."""

    def _defaults(self) -> dict[str, str]:
        folder = self._settings.credentials
        return {"releaseKey": str(folder / "release.pub"), "imagesCA": str(folder / "images-ca.pem")} if folder else {}

    def _verify(self, values: Values) -> Release:
        key = self._trust_file(values, "releaseKey")
        authority = self._trust_file(values, "imagesCA")
        return verified_release(
            str(values["source"]), digest=str(values["digest"]), release_key=key.read_bytes(), authority=authority
        )

    def _trust_file(self, values: Values, key: str) -> Path:
        """Return the path of a trust file.

        Raises:
            SettingsError: when neither the input nor the credentials folder names it.
        """
        value = values.get(key)
        if not isinstance(value, str):
            raise SettingsError("credentials", f"is missing, and so is the input {key}")
        path = Path(value).expanduser()
        if not path.is_file():
            raise SettingsError("credentials", f"leads to {path} for {key}, which is not a file")
        return path

    def _outputs(self, new: Values) -> Values:
        release = self._verify(new)
        return {
            **new,
            "name": release.name,
            "version": release.version,
            "releaseNumber": release.release_number,
            "rootHash": release.root_hash,
        }
