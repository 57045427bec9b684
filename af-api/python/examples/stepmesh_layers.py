"""A script for StepMesh's `fserver_lib`, by NumPy: what is pushed comes back doubled, with another number of rows each time.

    export DMLC_NUM_WORKER=2 DMLC_NUM_SERVER=2 DMLC_PS_ROOT_URI=127.0.0.1 DMLC_PS_ROOT_PORT=8123
    DMLC_ROLE=scheduler python stepmesh_layers.py
    DMLC_ROLE=server DMLC_NODE_RANK=RANK python stepmesh_layers.py         (0 and 1)
    DMLC_ROLE=worker DMLC_NODE_RANK=RANK python stepmesh_layers.py         (0 and 1)
"""

import os

import numpy as np

import fserver_lib as f

ROLE = os.environ["DMLC_ROLE"]
RANK = int(os.environ.get("DMLC_NODE_RANK", 0))
WORKERS, SERVERS = int(os.environ["DMLC_NUM_WORKER"]), int(os.environ["DMLC_NUM_SERVER"])
LAYERS, STAGES, TOKENS, HIDDEN = 20, 3, 128, 256


def key(tensor, stage, pull=0):
    return tensor | stage << 8 | RANK << 16 | pull << 24


def work():
    send = [np.zeros((TOKENS, HIDDEN), np.float32) for _ in range(STAGES)]
    receive = [[np.zeros((TOKENS, HIDDEN), np.float32) for _ in range(SERVERS)] for _ in range(STAGES)]
    counts = [np.zeros(1, np.int32) for _ in range(STAGES)]
    random = np.random.default_rng(RANK)
    f.barrier(False, True)
    for layer in range(LAYERS):
        handles = []
        for stage in range(STAGES):
            rows = TOKENS if layer == 0 else int(random.integers(0, TOKENS + 1))
            send[stage][:rows] = random.standard_normal((rows, HIDDEN), np.float32)
            counts[stage][0] = rows
            pushed, pulled = [send[stage][:rows], counts[stage]], [tensor[:rows] for tensor in receive[stage]]
            handle = f.push_pull(
                pushed, [key(0, stage), key(1, stage)], pulled, [key(number, stage, 1) for number in range(SERVERS)]
            )
            assert f.get_all_handlers(handle) == [handle, handle + 1, handle + 2]
            handles.append((handle, pushed, pulled))
        for handle, pushed, pulled in handles:
            f.wait(handle, timeout_ms=30000)
            assert len(f.fetch_trace(handle)) == 8
            for server, tensor in enumerate(pulled):
                assert np.array_equal(tensor, 2 * pushed[0] + server), (layer, server)
    print(f"ok: {LAYERS} layers of {STAGES} stages are right")


def serve():
    buffer = np.zeros((TOKENS, HIDDEN), np.float32)
    f.barrier(True, False)
    for _ in range(LAYERS * STAGES):
        batch = f.get_batch()
        assert len(batch) == WORKERS
        for handler, (states, count), keys in batch:
            assert states.shape == (count[0], HIDDEN) and keys[1] == keys[0] | 1
            f.respond([np.asarray(2 * states + RANK)], handler)
    print(f"ok: {LAYERS * STAGES} batches are answered")


f.init()
if ROLE == "worker":
    work()
elif ROLE == "server":
    serve()
f.stop()
