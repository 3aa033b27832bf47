"""The groups of commands, imported when one is asked for: `sealwave --help` need not load Pulumi or the lab."""

from __future__ import annotations

import importlib

import click

__all__ = ["GROUPS", "LazyGroup"]

# Name on the command line -> module and attribute.
GROUPS = {
    "image": ("sealwave.infra.cli.image", "image"),
    "node": ("sealwave.infra.cli.node", "node"),
    "rollout": ("sealwave.infra.cli.rollout", "rollout"),
    "lab": ("sealwave.infra.cli.lab", "lab"),
}


class LazyGroup(click.Group):
    """A group whose members are loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every group, in the order of a node's life."""
        return list(GROUPS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The group of this name, None when there is none."""
        if cmd_name not in GROUPS:
            return None
        module, attribute = GROUPS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command
