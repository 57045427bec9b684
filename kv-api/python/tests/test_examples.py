"""Every example, as the processes that its first lines name."""

import os
import pathlib
import socket
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
LIMIT = 60


def free_ports(count):
    """The first of some ports in a row that nobody listens on."""
    for first in range(21000 + os.getpid() % 20 * 400, 32000, count):
        held = []
        try:
            for port in range(first, first + count):
                held.append(socket.create_server(("127.0.0.1", port)))
            return first
        except OSError:
            continue
        finally:
            for server in held:
                server.close()
    raise RuntimeError("no ports are free")


def run(*commands):
    """Runs programs at once; each has to end well."""
    started = [
        subprocess.Popen([sys.executable, EXAMPLES / name, *map(str, arguments)], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
        for name, *arguments in commands
    ]
    outputs = []
    try:
        for program in started:
            outputs.append(program.communicate(timeout=LIMIT)[0])
    finally:
        for program in started:
            program.kill()
            program.wait()
    for program, output in zip(started, outputs):
        assert program.returncode == 0, output
    return outputs


def test_kvtrans_send_recv():
    port = free_ports(1)
    receiver, sender = run(("kvtrans_send_recv.py", "receive", port), ("kvtrans_send_recv.py", "send", port))
    assert receiver.count("ok: they are what was sent") == 9 and "<KVTrans Engine>" in receiver
    assert sender.count("bytes are sent") == 9


def test_hixl_client_server_h2d():
    port = free_ports(3)
    name = f"127.0.0.1:{port}"
    arguments = [name, port + 1]
    server, client = run(
        ("hixl_client_server_h2d.py", "server", *arguments), ("hixl_client_server_h2d.py", "client", *arguments)
    )
    assert "ok: the server ends with 2" in server and "ok: the server began with 1" in client


def test_hixl_server_server_d2d():
    port = free_ports(6)
    one, two = f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"
    first, second = run(
        ("hixl_server_server_d2d.py", one, two, port + 2), ("hixl_server_server_d2d.py", two, one, port + 2)
    )
    assert "ok: the name is written" in first and "ok: it has what it should" in second


@pytest.mark.parametrize(
    ("name", "roles", "proof"),
    [
        ("datadist_pull.py", ("prompt", "decoder"), "rows 0 to 3 of every tensor are right"),
        ("datadist_push.py", ("prompt", "decoder"), "rows 4 to 7 of every tensor are right"),
        ("datadist_switch_roles.py", ("prompt", "decoder"), "rows 0 to 7 of every tensor are right"),
        ("layer_by_layer.py", ("prefill", "decode"), "layer 7 came from prefill"),
    ],
)
def test_pairs(name, roles, proof):
    port = free_ports(5)
    _, output = run(*((name, role, port) for role in roles))
    assert f"ok: {proof}" in output
