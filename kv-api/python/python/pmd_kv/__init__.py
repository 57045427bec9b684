"""KV-cache transfer between prefill and decode, over RDMA or shared memory.

Caches and block tables: `Engine`. Memory by address: `Fabric`. Arrays are NumPy's, or whatever else speaks the buffer
protocol or DLPack; nothing is copied. Every call that waits lets other threads run; transfers can be awaited.

Memory of accelerators is registered as arrays are, by engines that were opened with `accelerators="cuda:0"`, or in an
environment with PMD_ACCELERATORS: tensors (DLPack devices 2 CUDA, 10 ROCm, 12 of extensions, which Ascend's are; or
`__cuda_array_interface__`) and `DeviceMemory`. Transfers are posted when the kernels that write a tensor are done
(`Device.synchronize`), and kernels read it when the transfers are.

The modules `kvtrans_engine`, `llm_datadist` and `hixl`, installed beside this one, speak other engines' interfaces over
the same driver.
"""

from . import errors
from ._native import (
    Cache,
    Device,
    DeviceMemory,
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
    "Device",
    "DeviceMemory",
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
