"""LLM-DataDist: the prompt pushes blocks layer by layer, and a row, into the decoder's cache.

    python datadist_push.py decoder 26000
    python datadist_push.py prompt 26000

The decoder listens at the port; at the next one, and the one after, the two tell each other how far they are.
"""

import sys

from common import check, tell, wait
from datadist_common import (
    DECODER,
    PROMPT,
    TENSORS,
    addresses,
    check_rows,
    counting,
    description,
    empty,
    link,
    start,
    unlink,
)
from llm_datadist import BlocksCacheKey, CacheKeyByIdAndIndex, LLMRole


def decoder(port):
    tensors = empty()
    datadist = start(LLMRole.DECODER, DECODER, port)
    manager = datadist.cache_manager
    blocks = manager.register_blocks_cache(description(), addresses(tensors), BlocksCacheKey(DECODER, 0))
    rows = manager.register_cache(description(), addresses(tensors))
    tell(port + 1)
    wait(port + 2)
    check_rows(tensors, 4, 8)
    check(not any(tensor[:4].any() for tensor in tensors), "the other rows are as they were")
    for cache in (blocks, rows):
        manager.unregister_cache(cache.cache_id)
    datadist.finalize()


def prompt(port):
    tensors = counting()
    datadist = start(LLMRole.PROMPT, PROMPT)
    manager = datadist.cache_manager
    blocks = manager.register_blocks_cache(description(), addresses(tensors))
    rows = manager.register_cache(description(), addresses(tensors))
    wait(port + 1)
    link(datadist, DECODER, port)
    for layer in range(TENSORS):
        layers = range(layer, layer + 1)
        manager.push_blocks(
            BlocksCacheKey(DECODER, 0),
            blocks,
            src_blocks=[5, 6, 7],
            dst_blocks=[5, 6, 7],
            src_layer_range=layers,
            dst_layer_range=layers,
            tensor_num_per_layer=1,
        )
        print(f"ok: layer {layer} is pushed", flush=True)
    whole = range(1)
    manager.push_cache(
        CacheKeyByIdAndIndex(DECODER, 2, batch_index=4), rows, 4, whole, whole, tensor_num_per_layer=TENSORS
    )
    unlink(datadist, DECODER, port)
    tell(port + 2)
    datadist.finalize()


if __name__ == "__main__":
    role, port = sys.argv[1:]
    {"prompt": prompt, "decoder": decoder}[role](int(port))
