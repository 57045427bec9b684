"""StepMesh's Python interface over the poll-mode driver: scripts that were written for it run as they are.

Roles, ranks and addresses come from the environment, by the names that StepMesh reads (`DMLC_*`, `STEPMESH_*`); what
these cannot say, `PMD_TRANSPORT`, `PMD_DEVICE`, `PMD_IDLE` and `PMD_START_TIMEOUT` do. Tensors are in host memory, or in
that of the accelerator that `PMD_ACCELERATORS` names (`cuda` is number `STEPMESH_GPU` of CUDA's); then what is pushed
arrives there too. Tensors that arrive are PyTorch's where PyTorch is installed, else NumPy's, and this package's own where
neither shows them; they are valid until the request is answered.

With `need_event` a push or a response waits for what the thread's stream has been given before: for tensors on a device
PyTorch's current stream, or without PyTorch the default stream. For host memory that is the stream of
`pmd_af.stream(...)`; without one everything that was called has been done, and there is nothing to wait for.
A process of the role `joint` is a worker and a server, and may call what either can.

What went wrong is an exception (`pmd_af.errors`) and never the end of the process: a server or worker that is gone, a
wait that took too long, a response of another size.
"""

import os
import threading

import pmd_af
from pmd_af import errors

from ._cuda import SimpleNotify, map_pinned_tensor, seq_add_one, wait_flag, write_flag
from ._state import Role, arrived, now_in_stream, start

__all__ = [
    "SimpleNotify",
    "barrier",
    "fetch_trace",
    "get_all_handlers",
    "get_batch",
    "get_nanosecond",
    "init",
    "map_pinned_tensor",
    "push_pull",
    "register_recv_buffer",
    "respond",
    "respond_vec",
    "seq_add_one",
    "stop",
    "wait",
    "wait_flag",
    "write_flag",
]

_ALL = ("worker", "server", "scheduler")
_LEAVE = 10.0

_lock = threading.Lock()
_role = Role()


def init():
    """Takes this process's place in the cluster, and waits until everybody has come."""
    global _role
    with _lock:
        if _role.members:
            raise errors.ConfigurationError("init() was called before: call stop() first")
        name = os.environ.get("DMLC_ROLE", "server")
        if name not in ("scheduler", "server", "worker", "joint"):
            message = f"DMLC_ROLE is {name!r}, it takes scheduler, server, worker or joint"
            raise errors.ConfigurationError(message, variable="DMLC_ROLE")
        _role = Role(name, start(name))
    if name != "scheduler":
        barrier(True, True)


def stop():
    """Waits until everybody is here, and leaves."""
    global _role
    with _lock:
        role, _role = _role, Role()
    members = role.some()
    try:
        if role.name == "scheduler":
            members["scheduler"].barrier("stop", _ALL)
            members["scheduler"].wait_finished(_LEAVE)
        else:
            role.barrier("stop", _ALL)
    except errors.WaitTimeout:
        pass
    finally:
        for member in members.values():
            member.close()


def push_pull(push_tensors, push_keys, pull_tensors, pull_keys, need_event=True):
    """Pushes tensors to every server and pulls others, server by server; a number for `wait`."""
    role = _role.of("worker")
    event = now_in_stream(need_event, role.worker, push_tensors)
    return role.push_pull(push_tensors, push_keys, pull_tensors, pull_keys, event)


def wait(handler, timeout_ms=10000):
    """Waits until what was pulled is there. After TimeoutError it goes on."""
    _role.of("worker").wait(handler, timeout_ms)


def get_all_handlers(handler):
    """The numbers of every tensor that was pushed, and of every one that is pulled from each server."""
    return _role.of("worker").all_handlers(handler)


def fetch_trace(handler):
    """Eight moments in nanoseconds: start, sent, received and processed of the request, then of the response.

    Of a push-pull that was waited for, at the last of its servers; 0 for what is not known. Asks the servers.
    """
    return _role.of("worker").trace(handler)


def get_batch():
    """Waits for a request of every worker: (handler, [tensors], [keys]) of each, in the order of ranks."""
    role = _role.of("server")
    batch = role.server.get_batch()
    return [(role.keep(request), [arrived(tensor) for tensor in request.tensors], request.keys) for request in batch]


def respond(tensors, handler, need_event=False):
    """Answers a request with one tensor for each that is pulled."""
    role = _role.of("server")
    role.respond(handler, list(tensors), now_in_stream(need_event, role.server, tensors))


def respond_vec(ret_buffer, tensors_vec, handler_vec):
    """Answers each request with as many rows of `ret_buffer` as its tensor has."""
    if len(tensors_vec) != len(handler_vec):
        raise errors.ResponseError(f"{len(tensors_vec)} tensors for {len(handler_vec)} handlers")
    role = _role.of("server")
    buffer = role.server.register(ret_buffer)
    for tensor, handler in zip(tensors_vec, handler_vec):
        role.respond(handler, [buffer.rows(0, tensor.shape[0])], None)


def register_recv_buffer(tensor, worker_ranks, push_keys):
    """Gives a tensor for pushes, in even chunks: one for each worker and key, in their order."""
    if len(worker_ranks) != len(push_keys):
        raise errors.TensorError(f"{len(worker_ranks)} ranks for {len(push_keys)} keys")
    _role.of("server").server.offer(tensor, list(zip(worker_ranks, push_keys)))


def barrier(include_server, include_client, instance_barrier=True):
    """Waits until everybody is at this barrier: every instance, or one of each group."""
    role = _role
    role.some()
    roles = [name for name, included in (("server", include_server), ("worker", include_client)) if included]
    if role.name == "scheduler":
        raise errors.BarrierFailed("a scheduler takes part in no barrier of workers and servers", name="fserver")
    role.barrier("fserver", roles, "all" if instance_barrier else "one")


def get_nanosecond():
    """Nanoseconds of the clock of traces."""
    return pmd_af.now()
