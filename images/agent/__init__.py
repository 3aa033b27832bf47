"""What runs on the node: the machine API, the two slots, and the way back.

Law: no block is written that was not verified, no bootable entry points at a slot that is being written, and a changing
call with an older fence than the one on disk is refused. This folder imports `signing` and the image manifest only,
because it ships inside the image as an archive of exactly those.
"""
