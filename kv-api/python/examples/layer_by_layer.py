"""Prefill and decode, layer by layer: each layer is sent as soon as it is computed, while the next is being computed.

    python layer_by_layer.py decode 26000
    python layer_by_layer.py prefill 26000

The decode process listens at the port, and tells at the next one when it has everything. Blocks go where its block
table says; it checks each layer when it has landed, which is after all of the layer's bytes.
"""

import asyncio
import sys

import numpy as np

import pmd_kv
from common import PATIENCE, check, connected, tell, wait

LAYERS, BLOCKS, BLOCK = 8, 16, 4096
#: By which both processes know the stream of one request's layers.
REQUEST = 7
#: Block i of the prefill process goes to block TABLE[i] of the decode process.
TABLE = np.random.default_rng(3).permutation(4 * BLOCKS)[:BLOCKS].astype(np.uint32)


def computed(layer):
    """K and V of a layer: random numbers, the same in both processes."""
    return np.random.default_rng(layer).integers(0, 256, (2, BLOCKS, BLOCK), np.uint8)


async def receive(engine, peer, cache):
    """Goes on with each layer as it lands; a layer that fails raises, with the blocks that are not valid."""
    with engine.expect_layers(REQUEST, [peer]) as arrivals:
        for layer in range(LAYERS):
            await arrivals.landing(layer)
            found = [np.asarray(cache.tensor(2 * layer + which))[TABLE] for which in range(2)]
            check(np.array_equal(found, computed(layer)), f"layer {layer} came from {peer.name} over {peer.transport}")


def decode(port):
    with pmd_kv.Engine(name="decode", listen=f"127.0.0.1:{port}") as engine:
        cache = engine.allocate_cache("kv", layers=LAYERS, blocks=4 * BLOCKS, block_bytes=BLOCK)
        peer = engine.accept(PATIENCE)
        asyncio.run(asyncio.wait_for(receive(engine, peer, cache), PATIENCE))
        touched = sum(int(np.asarray(cache.tensor(tensor)).any(axis=1).sum()) for tensor in range(2 * LAYERS))
        check(touched == 2 * LAYERS * BLOCKS, "no other block was written")
        tell(port + 1)
        peer, reason = engine.wait_down(PATIENCE)
        print(f"ok: {reason}", flush=True)


def prefill(port):
    connected(port).close()
    with pmd_kv.Engine(name="prefill") as engine:
        arrays = [np.zeros((BLOCKS, BLOCK), np.uint8) for _ in range(2 * LAYERS)]
        cache = engine.register_cache("computed", arrays, blocks=BLOCKS)
        remote = engine.remote_cache(engine.connect(f"127.0.0.1:{port}"), "kv", PATIENCE)
        blocks = np.arange(BLOCKS, dtype=np.uint32), TABLE
        with remote.stream(cache, blocks, tag=REQUEST, timeout=PATIENCE) as stream:
            for layer in range(LAYERS):
                arrays[2 * layer][:], arrays[2 * layer + 1][:] = computed(layer)
                stream.release(layer)
            moved = stream.wait(PATIENCE)
        check(moved == 2 * LAYERS * BLOCKS * BLOCK, f"{moved} bytes are pushed")
        wait(port + 1)


if __name__ == "__main__":
    role, port = sys.argv[1:]
    {"prefill": prefill, "decode": decode}[role](int(port))
