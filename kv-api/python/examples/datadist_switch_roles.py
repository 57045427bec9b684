"""LLM-DataDist: the decoder pulls from the prompt; then the two switch roles, and the former prompt pushes the rest.

    python datadist_switch_roles.py prompt 26000
    python datadist_switch_roles.py decoder 26000

The first prompt listens at the port, the second at the next; at three more the two tell each other how far they are.
"""

import sys

from common import tell, wait
from datadist_common import (
    DECODER,
    HOST,
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
from llm_datadist import CacheKeyByIdAndIndex, LLMConfig, LLMRole


def prompt(port):
    tensors = counting()
    datadist = start(LLMRole.PROMPT, PROMPT, port)
    manager = datadist.cache_manager
    cache = manager.register_cache(description(), addresses(tensors))
    tell(port + 2)
    wait(port + 3)
    datadist.switch_role(LLMRole.DECODER)
    link(datadist, DECODER, port + 1)
    for row in range(4, 8):
        manager.push_cache(CacheKeyByIdAndIndex(DECODER, 1, batch_index=row), cache, row)
    unlink(datadist, DECODER, port + 1)
    tell(port + 4)
    datadist.finalize()


def decoder(port):
    tensors = empty()
    datadist = start(LLMRole.DECODER, DECODER)
    manager = datadist.cache_manager
    cache = manager.register_cache(description(), addresses(tensors))
    wait(port + 2)
    link(datadist, PROMPT, port)
    for row in range(4):
        manager.pull_cache(CacheKeyByIdAndIndex(PROMPT, 1, batch_index=row), cache, row)
    check_rows(tensors, 0, 4)
    unlink(datadist, PROMPT, port)
    config = LLMConfig()
    config.listen_ip_info = f"{HOST}:{port + 1}"
    datadist.switch_role(LLMRole.PROMPT, config.generate_options())
    tell(port + 3)
    wait(port + 4)
    check_rows(tensors, 0, 8)
    datadist.finalize()


if __name__ == "__main__":
    role, port = sys.argv[1:]
    {"prompt": prompt, "decoder": decoder}[role](int(port))
