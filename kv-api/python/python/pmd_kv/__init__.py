"""KV-cache transfer between prefill and decode, over RDMA or shared memory.

Caches and block tables: `Engine`. Memory by address: `Fabric`. Arrays are NumPy's, or whatever else speaks the buffer
protocol or DLPack; nothing is copied. Every call that waits lets other threads run; transfers can be awaited.

The modules `kvtrans_engine`, `llm_datadist` and `hixl`, installed beside this one, speak other engines' interfaces over
the same driver.
"""

from . import errors
from ._native import (
    Cache,
    Engine,
    Fabric,
    Landing,
    LayerArrivals,
    LayerStream,
    Message,
    Peer,
    Plan,
    Prepared,
    RemoteCache,
    Segment,
    TokenFormat,
    Transfer,
    TransferFailure,
    View,
    __version__,
)
from .errors import Error

__all__ = [
    "Cache",
    "Engine",
    "Error",
    "Fabric",
    "Landing",
    "LayerArrivals",
    "LayerStream",
    "Message",
    "Peer",
    "Plan",
    "Prepared",
    "RemoteCache",
    "Segment",
    "TokenFormat",
    "Transfer",
    "TransferFailure",
    "View",
    "__version__",
    "errors",
]
