"""HIXL: two servers with two device buffers each. The one whose name is smaller writes its name into the other's first
buffer; the other reads the first one's second buffer.

    python hixl_server_server_d2d.py 127.0.0.1:16000 127.0.0.1:16001 16100
    python hixl_server_server_d2d.py 127.0.0.1:16001 127.0.0.1:16000 16100

The last argument is the first of four ports at which the two tell each other addresses, and when they are done.
"""

import ctypes
import sys

import hixl
from common import ask, check, offer, tell, wait

SIZE = 30


def run(mine, other, port):
    is_smaller = mine < other
    engine = hixl.Hixl()
    check(engine.initialize(mine) == hixl.SUCCESS, "the server is initialised")
    buffers = [ctypes.create_string_buffer(SIZE), ctypes.create_string_buffer(f"second of {mine}".encode(), SIZE)]
    handles = []
    for buffer in buffers:
        memory = hixl.MemDesc(ctypes.addressof(buffer), SIZE)
        status, handle = engine.register_mem(memory, hixl.MEM_DEVICE)
        check(status == hixl.SUCCESS, "a device buffer is registered")
        handles.append(handle)
    if is_smaller:
        theirs = ask(port)
        offer(port + 1, ctypes.addressof(buffers[1]))
        check(engine.connect(other) == hixl.SUCCESS, "connected")
        ctypes.memmove(buffers[0], mine.encode(), len(mine))
        piece = hixl.TransferOpDesc(ctypes.addressof(buffers[0]), theirs, SIZE)
        check(engine.transfer_sync(other, hixl.WRITE, [piece]) == hixl.SUCCESS, "the name is written")
        check(engine.send_notify(other, hixl.NotifyDesc("written", mine)) == hixl.SUCCESS, "the other is told")
        tell(port + 2)
        wait(port + 3)
    else:
        offer(port, ctypes.addressof(buffers[0]))
        theirs = ask(port + 1)
        wait(port + 2)
        status, notes = engine.get_notifies()
        check((status, [(note.name, note.notify_msg) for note in notes]) == (0, [("written", other)]), "it was told")
        check(buffers[0].value == other.encode(), "the other's name is in the first buffer")
        check(engine.connect(other) == hixl.SUCCESS, "connected")
        piece = hixl.TransferOpDesc(ctypes.addressof(buffers[0]), theirs, SIZE)
        status, request = engine.transfer_async(other, hixl.READ, [piece])
        state = hixl.TransferStatus.WAITING
        while status == hixl.SUCCESS and state == hixl.TransferStatus.WAITING:
            status, state = engine.get_transfer_status(request)
        check(state == hixl.TransferStatus.COMPLETED, "the other's second buffer is read")
        check(buffers[0].value == f"second of {other}".encode(), "it has what it should")
        tell(port + 3)
    check(engine.disconnect(other) == hixl.SUCCESS, "disconnected")
    for handle in handles:
        check(engine.deregister_mem(handle) == hixl.SUCCESS, "a device buffer is deregistered")
    engine.finalize()


if __name__ == "__main__":
    mine, other, port = sys.argv[1:]
    run(mine, other, int(port))
