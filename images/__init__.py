"""From a declarative spec to a sealed image: spec, lock, store, root tree, seal, disk.

Law: `lock` is the only step that resolves anything; `build` reads the lock and the store and nothing else, offline, and
two builds of one lock are equal byte by byte. This folder never talks to a cluster and never imports the rollout; no
private key, token or per-machine value enters an image.
"""
