"""HIXL: a client reads a number from a server's device memory into its host memory, and writes another back.

    python hixl_client_server_h2d.py server 127.0.0.1:16000 16100
    python hixl_client_server_h2d.py client 127.0.0.1:16000 16100

The last argument is a port at which the two tell each other the address, and when they are done.
"""

import ctypes
import sys

import hixl
from common import ask, check, offer, tell, wait


def succeeded(status, what):
    check(status == hixl.SUCCESS, what)


def server(name, port):
    engine = hixl.Hixl()
    succeeded(engine.initialize(name), "the server is initialised")
    number = ctypes.c_int32(1)
    memory = hixl.MemDesc(ctypes.addressof(number), ctypes.sizeof(number))
    status, handle = engine.register_mem(memory, hixl.MEM_DEVICE)
    succeeded(status, "device memory is registered")
    offer(port, memory.addr)
    wait(port + 1)
    check(number.value == 2, "the server ends with 2")
    succeeded(engine.deregister_mem(handle), "device memory is deregistered")
    engine.finalize()


def client(name, port):
    engine = hixl.Hixl()
    succeeded(engine.initialize("127.0.0.1"), "the client is initialised")
    number = ctypes.c_int32(0)
    memory = hixl.MemDesc(ctypes.addressof(number), ctypes.sizeof(number))
    status, handle = engine.register_mem(memory, hixl.MEM_HOST)
    succeeded(status, "host memory is registered")
    remote = ask(port)
    succeeded(engine.connect(name, timeout_in_millis=5000), "the client is connected")
    piece = hixl.TransferOpDesc(local_addr=memory.addr, remote_addr=remote, len=memory.len)
    succeeded(engine.transfer_sync(name, hixl.READ, [piece]), "4 bytes are read")
    check(number.value == 1, "the server began with 1")
    number.value = 2
    succeeded(engine.transfer_sync(name, hixl.WRITE, [piece]), "4 bytes are written")
    succeeded(engine.disconnect(name), "the client is disconnected")
    succeeded(engine.deregister_mem(handle), "host memory is deregistered")
    engine.finalize()
    tell(port + 1)


if __name__ == "__main__":
    role, name, port = sys.argv[1:]
    {"server": server, "client": client}[role](name, int(port))
