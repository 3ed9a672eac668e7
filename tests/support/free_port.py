"""free_port.py - a port for a server that cannot choose one itself and tell."""
import random
import socket


def free_port(kind):
    """A port of 127.0.0.1 that nobody has just now. Below those the kernel deals out by itself: no
    client of another test takes it before the server does."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
