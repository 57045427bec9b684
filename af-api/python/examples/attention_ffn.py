"""Attention and FFN nodes: each layer's activations go to every FFN node, the sum of their parts comes back.

    python attention_ffn.py scheduler 27000
    python attention_ffn.py server 27000 RANK           (0 and 1)
    python attention_ffn.py worker 27000 RANK           (0 and 1)

Three microbatches are in flight at each attention node. An FFN node takes one request of each attention node, and answers
both at once. Every result is checked.
"""

import sys

import numpy as np

import pmd_af

WORKERS, SERVERS = 2, 2
LAYERS, STAGES, TOKENS, HIDDEN = 8, 3, 16, 512
SHAPE = {"workers": WORKERS, "servers": SERVERS, "start_timeout": 30}
PATIENCE = 30.0


def activations(worker, layer, stage):
    return np.random.default_rng((worker, layer, stage)).standard_normal((TOKENS, HIDDEN), np.float32)


def computed(server, layer, states):
    """What an FFN node makes of its input."""
    return states * (server + 1) + layer


def scheduler(address):
    with pmd_af.Scheduler(scheduler=address, **SHAPE) as cluster:
        cluster.wait_finished(60)
        print("ok: everybody has come and gone")


def serve(address, rank):
    with pmd_af.Server(scheduler=address, rank=rank, listen="127.0.0.1:0", **SHAPE) as server:
        out = [server.allocate((TOKENS, HIDDEN)) for _ in range(WORKERS * STAGES)]
        for turn in range(LAYERS * STAGES):
            layer, stage = divmod(turn, STAGES)
            for request in server.get_batch("all", PATIENCE):
                result = out[request.worker * STAGES + stage]
                result.numpy()[:] = computed(rank, layer, request.tensors[0].numpy())
                request.respond([result])
        server.node.barrier("done", timeout=PATIENCE)
        print(f"ok: {LAYERS * STAGES} batches of {WORKERS} requests are answered")


def ask(address, rank):
    with pmd_af.Worker(scheduler=address, rank=rank, **SHAPE) as worker:
        sent = [worker.allocate((TOKENS, HIDDEN)) for _ in range(STAGES)]
        back = [[worker.allocate((TOKENS, HIDDEN)) for _ in range(SERVERS)] for _ in range(STAGES)]
        for layer in range(LAYERS):
            pending = []
            for stage in range(STAGES):
                sent[stage].numpy()[:] = activations(rank, layer, stage)
                pulls = [(stage, tensor) for tensor in back[stage]]
                pending.append(worker.push_pull([(stage, sent[stage])], pulls, timeout=PATIENCE))
            for stage, one in enumerate(pending):
                one.wait(PATIENCE)
                states = activations(rank, layer, stage)
                for server in range(SERVERS):
                    assert (back[stage][server].numpy() == computed(server, layer, states)).all(), (layer, stage)
        worker.node.barrier("done", timeout=PATIENCE)
        transports = sorted({transport for _, transport, _ in worker.servers()})
        print(f"ok: {LAYERS} layers of {STAGES} stages are right, over {', '.join(transports)}")


if __name__ == "__main__":
    role, address = sys.argv[1], f"127.0.0.1:{sys.argv[2]}"
    if role == "scheduler":
        scheduler(address)
    else:
        {"server": serve, "worker": ask}[role](address, int(sys.argv[3]))
