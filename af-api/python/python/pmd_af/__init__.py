"""Push and pull of activations between attention and FFN nodes, over RDMA or shared memory.

A `Scheduler` brings a cluster together; a `Worker` pushes arrays to servers and pulls their answers; a `Server` takes
requests batch by batch and responds. Arrays are NumPy's, PyTorch's, or whatever else speaks the buffer protocol or
DLPack; nothing is copied. Every call that waits lets other threads run; push-pulls and batches can be awaited.

The module `fserver_lib`, installed beside this one, speaks StepMesh's interface over the same driver.
"""

from . import errors
from ._native import (
    Gathering,
    Node,
    Pending,
    Request,
    Response,
    Scheduler,
    Server,
    Tensor,
    Worker,
    __version__,
    now,
    wait_any,
)
from .errors import Error

__all__ = [
    "Error",
    "Gathering",
    "Node",
    "Pending",
    "Request",
    "Response",
    "Scheduler",
    "Server",
    "Tensor",
    "Worker",
    "__version__",
    "errors",
    "now",
    "wait_any",
]
