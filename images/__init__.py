"""From a declarative spec to a sealed image: spec, lock, store, root tree, seal, disk.

Law: `lock` is the only step that resolves anything; `build` reads the lock and the store and nothing else, offline, and
two builds of one lock are equal byte by byte. This folder never talks to a cluster and never imports the rollout; no
private key, token or per-machine value enters an image.

The names below are loaded when they are first used: this file also ships inside the image, beside the agent, where the
modules behind them do not exist.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealwave.images.build import RootTree as RootTree
    from sealwave.images.build import build_image as build_image
    from sealwave.images.build import build_tree as build_tree
    from sealwave.images.errors import ImageError as ImageError
    from sealwave.images.resolve import Anchors as Anchors
    from sealwave.images.resolve import lock_image as lock_image
    from sealwave.images.steps import StepEvent as StepEvent
    from sealwave.images.store import Store as Store

__all__ = ["Anchors", "ImageError", "RootTree", "StepEvent", "Store", "build_image", "build_tree", "lock_image"]

_HOMES = {
    "Anchors": "resolve",
    "ImageError": "errors",
    "RootTree": "build",
    "StepEvent": "steps",
    "Store": "store",
    "build_image": "build",
    "build_tree": "build",
    "lock_image": "resolve",
}


def __getattr__(name: str) -> Any:
    """Load one of the names of `__all__` from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
