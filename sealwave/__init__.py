"""sealwave: sealed node images for GPU clusters, and the rollout that replaces nodes wave by wave.

The code lives in the four folders at the root of the repository; the links beside this file make them one
distribution. Always import `sealwave.images`, never `images`: the second makes a second module of the same file.
"""
