"""LLM-DataDist: the decoder pulls blocks and a row of the prompt's cache.

    python datadist_pull.py prompt 26000
    python datadist_pull.py decoder 26000

The prompt listens at the port; at the next one, and the one after, the two tell each other how far they are.
"""

import sys

from common import tell, wait
from datadist_common import (
    DECODER,
    PROMPT,
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


def prompt(port):
    tensors = counting()
    datadist = start(LLMRole.PROMPT, PROMPT, port)
    manager = datadist.cache_manager
    blocks = manager.register_blocks_cache(description(), addresses(tensors), BlocksCacheKey(PROMPT, 0))
    rows = manager.register_cache(description(), addresses(tensors))
    tell(port + 1)
    wait(port + 2)
    for cache in (blocks, rows):
        manager.unregister_cache(cache.cache_id)
    datadist.finalize()


def decoder(port):
    tensors = empty()
    datadist = start(LLMRole.DECODER, DECODER)
    manager = datadist.cache_manager
    blocks = manager.register_blocks_cache(description(), addresses(tensors))
    rows = manager.register_cache(description(), addresses(tensors))
    wait(port + 1)
    link(datadist, PROMPT, port)
    manager.pull_blocks(BlocksCacheKey(PROMPT, 0), blocks, src_blocks=[1, 2, 3], dst_blocks=[1, 2, 3])
    check_rows(tensors, 1, 4)
    # Caches are numbered from 1 in each process: the prompt's second is the one of rows.
    manager.pull_cache(CacheKeyByIdAndIndex(PROMPT, 2, batch_index=0), rows, batch_index=0)
    check_rows(tensors, 0, 4)
    unlink(datadist, PROMPT, port)
    tell(port + 2)
    datadist.finalize()


if __name__ == "__main__":
    role, port = sys.argv[1:]
    {"prompt": prompt, "decoder": decoder}[role](int(port))
