"""Where the parts meet a person: the Pulumi provider and program, the local lab, the command line.

Law: no decision about a node is taken here. This folder translates (Pulumi's calls, arguments, processes) and prints;
what to do is decided in `rollout`, what an image is in `images`, whom to trust in `signing`.
"""
