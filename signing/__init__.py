"""Keys, signatures and their verification.

Law: this folder turns bytes and keys into signed bytes, and signed bytes into a verdict. It imports nothing else of
ours, never opens a network connection, and never returns content whose signature it did not verify: what cannot be
checked is refused.

Modules: `dsse` (signed documents), `certs` and `tls` (X.509 and TLS 1.3), `keys` (private keys in files),
`authenticode` (boot loaders and kernels; host only), `files` (atomic files), `errors`. Names are imported from the
modules themselves: the node's archive has an older `cryptography`, and what it does not need it must not load.
"""

__all__ = ["authenticode", "certs", "dsse", "errors", "files", "keys", "tls"]
