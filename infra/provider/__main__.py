"""The executable `pulumi-resource-sealwave`, which Pulumi finds on PATH and starts by itself."""

import logging
import sys
from importlib import metadata, resources

from sealwave.infra.provider import lifeline
from sealwave.infra.provider.catalogue import resources_for
from sealwave.infra.provider.enginelog import EngineLog
from sealwave.infra.provider.provider import SealwaveProvider
from sealwave.infra.provider.server import serve
from sealwave.infra.settings import Settings


def main() -> int:
    """Serve Pulumi's calls until it ends this process; return the exit status."""
    debug = Settings.from_environment().debug
    logging.basicConfig(stream=sys.stderr, level=logging.DEBUG if debug else logging.CRITICAL)
    schema = resources.files(__package__).joinpath("schema.json").read_text("utf-8")

    def make(engine_address: str) -> SealwaveProvider:
        provider = SealwaveProvider(EngineLog(engine_address), resources_for, schema)
        lifeline.watch_parent(provider.hold, provider.busy)
        return provider

    serve(make, metadata.version("sealwave"), sys.argv[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
