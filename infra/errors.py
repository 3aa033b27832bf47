"""The root of every error of this folder."""


class InfraError(Exception):
    """Something that a person can act on; its text is one paragraph: what, where, why and what to do."""
