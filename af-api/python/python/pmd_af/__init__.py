"""Push and pull of activations between attention and FFN nodes, over RDMA or shared memory.

A `Scheduler` brings a cluster together; a `Worker` pushes arrays to servers and pulls their answers; a `Server` takes
requests batch by batch and responds. Arrays are NumPy's, PyTorch's, or whatever else speaks the buffer protocol or
DLPack; nothing is copied. Every call that waits lets other threads run; push-pulls and batches can be awaited. A push
or a response can wait for an `Event` of a `Stream`. `pmd_af.simple` has key-values and small requests.

The module `fserver_lib`, installed beside this one, speaks StepMesh's interface over the same driver.
"""

from . import errors
from ._native import (
    Event,
    Exchange,
    Gathering,
    Node,
    Pending,
    Request,
    Response,
    Scheduler,
    Server,
    Service,
    Stream,
    Tensor,
    Worker,
    __version__,
    now,
    wait_any,
)
from ._streams import current_stream, stream
from .errors import Error

__all__ = [
    "Error",
    "Event",
    "Exchange",
    "Gathering",
    "Node",
    "Pending",
    "Request",
    "Response",
    "Scheduler",
    "Server",
    "Service",
    "Stream",
    "Tensor",
    "Worker",
    "__version__",
    "current_stream",
    "errors",
    "now",
    "stream",
    "wait_any",
]
