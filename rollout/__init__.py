"""The rollout: waves of node replacements behind health gates, as a pure, total state machine with a journal.

Law: the core decides and never acts; every effect is journaled as intended before it is tried and as done after; what
is unknown holds, and nothing passes for lack of evidence. This folder never imports the images: it meets them in the
image manifest's digest and in the machine API's OpenAPI document.
"""
