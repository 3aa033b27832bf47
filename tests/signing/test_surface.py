"""What the node's archive loads from this room."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Python modules that the node has; everything else from outside the standard library must stay away.
ON_THE_NODE = {"cryptography", "securesystemslib", "sealwave", "_cffi_backend", "cffi", "_openssl"}
# What those two use where it happens to be installed, and do without where it is not.
OPTIONAL = {"bcrypt", "google"}


@pytest.mark.parametrize("module", ["dsse", "certs", "tls", "keys", "files", "errors"])
def test_the_node_loads_no_more_than_it_has(module: str) -> None:
    code = f"""
import sys
import sealwave.signing.{module}
outside = {{name.split('.')[0] for name in sys.modules}} - set(sys.stdlib_module_names) - set(sys.builtin_module_names)
print(*sorted(name for name in outside if not name.startswith('__')))
print('cryptography.hazmat.asn1' in sys.modules, 'sealwave.signing.authenticode' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _WITH_PATH + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outside, host_only = done.stdout.splitlines()
    assert set(outside.split()) <= ON_THE_NODE | OPTIONAL
    assert host_only == "False False"


# -S keeps start-up hooks of other packages out; the search path is then ours to give.
_WITH_PATH = f"import sys; sys.path[:0] = {sys.path!r}"
