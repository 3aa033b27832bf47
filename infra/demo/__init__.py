"""The demonstration: spec to signed image to a cluster of real machines, rolled by Pulumi, with one image that fails.

Law: every step uses the commands and programs that a user has, and fails with one sentence when what it claims is not
seen. Nothing is claimed that was not read from a node, the cluster or a program's exit status.
"""
