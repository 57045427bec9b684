"""What the examples share: how two processes find each other, and how a result is checked."""

import socket
import struct
import time

PATIENCE = 30.0


def offer(port, value):
    """Gives one number to the process that asks at a port of this host."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(PATIENCE)
        connection, _ = server.accept()
        with connection:
            connection.sendall(struct.pack("!Q", value))


def ask(port):
    """The number that another process offers at a port of this host."""
    with connected(port) as connection:
        connection.settimeout(PATIENCE)
        answer = b""
        while len(answer) < 8:
            answer += connection.recv(8 - len(answer)) or exit("the other process went away")
        return struct.unpack("!Q", answer)[0]


def tell(port):
    """Wakes the process that is in `wait` at a port of this host."""
    with connected(port) as connection:
        connection.sendall(b"1")


def wait(port):
    """Waits until another process has told."""
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(PATIENCE)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(PATIENCE)
            assert connection.recv(1) == b"1", "the other process went away"


def connected(port):
    """A connection to a port of this host, which may not listen yet."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def check(holds, what):
    """Ends the example with an error unless something holds."""
    if not holds:
        raise SystemExit(f"wrong: {what}")
    print(f"ok: {what}", flush=True)
