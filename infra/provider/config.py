"""The provider's one setting: a path only, so that no secret can reach Pulumi's state or log."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sealwave.infra.provider.errors import SettingsError

NAMESPACE = "sealwave:config:"
"""How Pulumi prefixes the names of configuration variables."""


@dataclass(frozen=True)
class Settings:
    """Where the provider finds what it needs. A setting that is missing is an error only when it is used."""

    credentials: Path | None
    """The folder with the driver's kubeconfig, the machine API's certificates and keys, and the trust anchors."""

    def credentials_path(self) -> Path:
        """Return the credentials folder.

        Raises:
            SettingsError: when it is not set or not a folder.
        """
        if self.credentials is None:
            raise SettingsError("credentials", "is missing")
        if not self.credentials.is_dir():
            raise SettingsError("credentials", f"names {self.credentials}, which is not a folder")
        return self.credentials


def settings_from_variables(variables: Mapping[str, str]) -> Settings:
    """Read the settings from configuration variables, with or without Pulumi's prefix.

    Names that are not settings belong to the program, which shares the namespace, and are left alone.
    """
    plain = {key.removeprefix(NAMESPACE): value for key, value in variables.items()}
    folder = plain.get("credentials")
    return Settings(credentials=Path(folder).expanduser() if folder else None)
