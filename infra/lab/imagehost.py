"""The image host: release files in a plain static folder, served over HTTPS with ranges.

It is trusted with nothing: a node checks every byte against the image's digest. So it only has to serve, and only
release files are ever linked into its folder.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from aiohttp import web

from sealwave.signing.files import sync_folder

__all__ = ["RELEASE_FILES", "application", "folder_of", "publish"]

# What a release consists of; disk images and locks stay with the builder.
RELEASE_FILES = ("image.json", "image.json.dsse", "root.erofs", "root.verity", "uki.efi", "loader.efi")


def application(folder: Path) -> web.Application:
    """The service: GET and HEAD of everything below `folder`, no listing, no links followed out of it."""
    made = web.Application()
    made.router.add_static("/", folder, show_index=False, follow_symlinks=False)
    return made


def folder_of(digest: str) -> str:
    """The path below the host's address at which the image of this digest is served."""
    return digest.replace(":", "-")


def publish(image: Path, *, digest: str, folder: Path) -> str:
    """Put a built image's release files under their digest; returns the path below the host's address.

    Files are hard links where the file system allows it, so that a later build of the same name changes nothing here.
    Raises OSError when the host's folder cannot be written; then nothing is served under the digest.
    """
    name = folder_of(digest)
    target = folder / name
    if target.is_dir():
        return name
    temporary = folder / f".{name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for file in RELEASE_FILES:
        try:
            os.link(image / file, temporary / file)
        except OSError:
            shutil.copyfile(image / file, temporary / file)
    # Another process that published the same digest has published the same bytes.
    try:
        temporary.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder)
    return name
