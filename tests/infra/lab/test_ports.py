"""Ports: the one who holds one is named."""

import os
import socket

import pytest

from sealwave.infra.errors import PortInUse
from sealwave.infra.lab.ports import LOOPBACK, free_ports, require_free


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    for port in ports:
        require_free(port, "a test")


def test_a_port_in_use_names_its_holder() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        with pytest.raises(PortInUse) as caught:
            require_free(port, "the API server")
    assert caught.value.holder is not None
    assert f"(process {os.getpid()})" in caught.value.holder
    assert str(caught.value).startswith(f"port {port} on 127.0.0.1, wanted for the API server, is in use by ")
