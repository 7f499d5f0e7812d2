"""Ports on loopback for servers that tests start."""

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port that nobody listens on. Systems hand out none below 32768 by themselves, so nobody gets it meanwhile."""
    for port in random.SystemRandom().sample(range(20000, 30000), 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
