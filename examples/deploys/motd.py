"""A deploy of your own: any pyinfra operations, run in the root tree while the image is built."""

from io import StringIO

from pyinfra.operations import files

files.put(
    name="Say on the console what this machine is",
    src=StringIO("This node is a sealed image: it has no login, and is replaced instead of changed.\n"),
    dest="/etc/issue",
    mode="644",
)
