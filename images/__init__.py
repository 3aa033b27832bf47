"""From a declarative spec to a sealed image: spec, lock, store, root tree, seal, disk.

Law: `lock` is the only step that resolves anything; `build` reads the lock and the store and nothing else, offline, and
two builds of one lock are equal byte by byte. This folder never talks to a cluster and never imports the rollout; no
private key, token or per-machine value enters an image.

Start at `spec` (what is wanted), `resolve.lock_image` (spec to lock), `build.build_image` (lock to image folder) and
`verify` (what an image folder must hold). Names are imported from the modules themselves: this file also ships inside
the image, beside the agent, where most of them do not exist.
"""
