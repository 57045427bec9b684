"""What StepMesh does with kernels and streams. Here host memory has the same meaning, without a stream: what is asked for
happens at once. For CUDA tensors each of them says what it needs."""

import os
import time

from pmd_af import errors

_CPU = 1


def map_pinned_tensor(tensor, device_index):
    """Pinned host memory as a CUDA device sees it; with STEPMESH_BACKEND=CPU the tensor itself."""
    backend = os.environ.get("STEPMESH_BACKEND") or os.environ.get("STEPMESH_BAKCEND")
    if backend == "CPU":
        return tensor
    _missing("map_pinned_tensor", f"the CUDA device {device_index}, or STEPMESH_BACKEND=CPU for host memory")


def write_flag(flag, seq):
    """Sets the flag to the number."""
    _check("write_flag", flag, seq)
    flag[0] = seq[0]


def wait_flag(flag, seq):
    """Waits until the flag has reached the number."""
    _check("wait_flag", flag, seq)
    while flag[0] < seq[0]:
        time.sleep(0)


def seq_add_one(seq):
    """Counts the number up."""
    _check("seq_add_one", seq)
    seq[0] += 1


class SimpleNotify:
    """Lets a stream wait for a push-pull or a batch. The processor is its own stream: it waits where it is told to."""

    def __init__(self):
        self._batch = None

    def init(self):
        """Nothing has to be made ready."""

    def stream_wait_event(self, handler):
        """Waits for a push-pull."""
        import fserver_lib

        fserver_lib.wait(handler)

    def wait_event_done(self):
        """It is: `stream_wait_event` has waited."""

    def block_now_stream(self):
        """Nothing is left to wait for."""

    def block_now_stream_and_get_batch(self):
        """Waits for a batch, which `get_future_batch_data` returns."""
        import fserver_lib

        self._batch = fserver_lib.get_batch()

    def get_future_batch_data(self):
        """The batch that was waited for."""
        if self._batch is None:
            raise errors.Closed("no batch: call block_now_stream_and_get_batch() first")
        batch, self._batch = self._batch, None
        return batch


def _check(what, *tensors):
    for tensor in tensors:
        device = getattr(tensor, "__dlpack_device__", lambda: (_CPU, 0))()
        if device[0] != _CPU:
            _missing(what, "a CUDA kernel for tensors on a device; give tensors in host memory")


def _missing(what, needs):
    raise errors.DeviceMissing(f"{what} needs {needs}; this build has no CUDA kernels")
