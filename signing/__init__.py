"""Keys, signatures and their verification.

Law: this folder turns bytes and keys into signed bytes, and signed bytes into a verdict. It imports nothing else of
ours, never opens a network connection, and never returns content whose signature it did not verify: what cannot be
checked is refused.
"""
