"""What can go wrong in the provider.

InfraError
└── ProviderError
    ├── UnknownResourceError    their program names a type that this provider does not have
    ├── SettingsError           their configuration lacks a path, or a path leads nowhere
    ├── ReleaseError            the image folder does not answer, or does not verify
    └── RolloutStoppedError     the rollout ended before the fleet was as wanted
"""

from sealwave.infra.errors import InfraError


class ProviderError(InfraError):
    """The root of the provider's errors."""


class UnknownResourceError(ProviderError):
    """The program names a resource type that is not ours."""

    def __init__(self, token: str, known: tuple[str, ...]) -> None:
        self.token = token
        super().__init__(f"the provider sealwave has no resource type {token}; it has {', '.join(sorted(known))}")


class SettingsError(ProviderError):
    """The provider's configuration is incomplete or wrong."""

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        super().__init__(
            f"the provider's setting sealwave:{key} {problem}; set it with `pulumi config set sealwave:{key} PATH`"
        )


class ReleaseError(ProviderError):
    """An image release could not be verified."""

    def __init__(self, source: str, problem: str) -> None:
        self.source = source
        super().__init__(f"the image at {source} is not accepted: {problem}")


class RolloutStoppedError(ProviderError):
    """The rollout halted or was held; the sentence comes from the engine's outcome."""
