"""Names that others chose, kept inside the folder that they are meant for.

Steps write as root on the build host, outside the sandbox, and a lock or a spec may come from elsewhere. The schemas
refuse such names first; this holds where a schema cannot see, at a link in the tree that points out of it.
"""

from __future__ import annotations

from pathlib import Path

from sealwave.images.errors import ImageError


class OutsideFolder(ImageError):
    """A path that leads out of the folder in which it is used."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{what} has the path {name}, which leads out of the folder that it belongs into; correct it")
        self.name = name


def place_inside(folder: Path, name: str, *, what: str) -> Path:
    """Where `name` lies below `folder`, links followed; `what` names it in errors. Raises `OutsideFolder`."""
    root = folder.resolve()
    place = (root / name).resolve()
    if place == root or not place.is_relative_to(root):
        raise OutsideFolder(name, what)
    return place
