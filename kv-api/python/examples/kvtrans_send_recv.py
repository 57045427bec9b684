"""KVTrans: one process sends NumPy arrays, another receives them into arrays of its own.

    python kvtrans_send_recv.py receive 16000
    python kvtrans_send_recv.py send 16000

The last argument is the port at which the receiver listens.
"""

import sys
import time

import numpy as np

import kvtrans_engine
from common import PATIENCE, check

ROUNDS = 3


def arrays():
    """Some arrays, small and large; the last is larger than any chunk that they are sent in."""
    small = np.arange(5, dtype=np.int32)
    random = np.random.default_rng(1).random((61, 128))
    large = np.arange(3 << 20, dtype=np.float32).reshape(3, 1024, 1024)
    return [small, random, large]


def receive(port):
    engine = kvtrans_engine.Engine("lo", 2, 2, port)
    print(engine, flush=True)
    success, ip_addr, _, connection = engine.accept()
    check(success, f"a sender at {ip_addr} has connected")
    for wanted in arrays():
        array = np.zeros_like(wanted)
        success, kv_id = engine.reg_kv(connection, array)
        check(success, f"{array.nbytes} bytes are registered")
        for number in range(ROUNDS):
            # Room for twice as much: the size that is returned is the message's.
            success, received = engine.recv_kv(kv_id, 2 * array.nbytes)
            check(success and len(received) == array.nbytes, f"{array.nbytes} bytes are received")
            check(np.array_equal(array, wanted + number), "they are what was sent")
            check(received == array.tobytes(), "and are in the array")
    engine.close()


def send(port):
    engine = kvtrans_engine.Engine("lo", 2, 2, 0)
    deadline = time.monotonic() + PATIENCE
    success = False
    while not success and time.monotonic() < deadline:
        success, connection = engine.connect("127.0.0.1", port)
        time.sleep(0 if success else 0.05)
    check(success, "the sender is connected")
    for array in arrays():
        success, kv_id = engine.reg_kv(connection, array)
        check(success, f"{array.nbytes} bytes are registered")
        for number in range(ROUNDS):
            check(engine.send_kv(kv_id, array), f"{array.nbytes} bytes are sent")
            array += 1
    engine.close()


if __name__ == "__main__":
    role, port = sys.argv[1:]
    {"receive": receive, "send": send}[role](int(port))
