"""What this process is, and the numbers that it gave for push-pulls and requests."""

import os
import threading
from collections import OrderedDict

import pmd_af
from pmd_af import errors

try:
    import torch
except ImportError:
    torch = None

#: DLPack's numbers of the host, and of its pinned memory.
_HOST = (1, 0)
_OF_HOST = (1, 3, 11)

#: Push-pulls whose traces are kept after they were waited for.
KEPT = 4096

#: Push-pulls that nobody waits for, before those that have ended are forgotten.
UNWAITED = 65536


class Record:
    """A push-pull, under the first of its numbers."""

    def __init__(self, pending, handlers):
        self.pending = pending
        self.handlers = handlers


def start(name):
    """What a process of this name is: its members by their roles."""
    if name == "scheduler":
        return {"scheduler": _scheduler()}
    if name == "joint":
        return _joint()
    return {name: _node(name)}


def _node(role):
    # Without an accelerator pushes arrive in host memory.
    return (pmd_af.Worker if role == "worker" else pmd_af.Server)(rail=True, device_areas=True)


def _scheduler():
    scheduler = pmd_af.Scheduler()
    try:
        scheduler.wait_formed(float(os.environ.get("PMD_START_TIMEOUT") or 60))
    except BaseException:
        scheduler.close()
        raise
    return scheduler


def _joint():
    """A worker and a server, each of which waits for the other to come."""
    members, failed = {}, []

    def serve():
        try:
            members["server"] = _node("server")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=serve, name="fserver-joint")
    thread.start()
    try:
        members["worker"] = _node("worker")
    except BaseException as error:
        failed.append(error)
    thread.join()
    if failed:
        for member in members.values():
            member.close()
        raise failed[0]
    return members


class Role:
    """A worker, a server, both, or a scheduler; none before `init` and after `stop`."""

    def __init__(self, name=None, members=None):
        self.name = name
        self.members = members or {}
        self.worker = self.members.get("worker")
        self.server = self.members.get("server")
        self.lock = threading.Lock()
        self.next = 0
        self.records = {}
        self.finished = OrderedDict()
        self.requests = {}

    def some(self):
        if not self.members:
            raise errors.Closed("there is no cluster: call init() first")
        return self.members

    def of(self, name):
        if name not in self.some():
            raise errors.ConfigurationError(f"this process is a {self.name}: only a {name} can do that")
        return self

    def barrier(self, name, roles, instances="all"):
        """Enters for each role that this process has of these; for its own where it has none of them, to be told so."""
        members = [member for role, member in self.members.items() if role in roles] or list(self.members.values())[:1]
        failed = []

        def enter(member):
            try:
                member.node.barrier(name, roles, instances)
            except errors.Error as error:
                failed.append(error)

        # Nobody is released before all of them have entered.
        others = [threading.Thread(target=enter, args=(member,), daemon=True) for member in members[1:]]
        for other in others:
            other.start()
        members[0].node.barrier(name, roles, instances)
        for other in others:
            other.join()
        if failed:
            raise failed[0]

    def push_pull(self, push_tensors, push_keys, pull_tensors, pull_keys, event):
        pushes, pulls = pairs(push_tensors, push_keys, "push"), pairs(pull_tensors, pull_keys, "pull")
        if not pushes and not pulls:
            raise errors.PushPullError("neither a tensor to push nor one to pull")
        pending = self.worker.push_pull(pushes, pulls, after=event)
        servers = max(len(self.worker.servers()), 1)
        with self.lock:
            first = self.next
            self.next += len(pushes) + len(pulls) // servers
            record = Record(pending, range(first, self.next))
            if len(self.records) > UNWAITED:
                self.records = {number: known for number, known in self.records.items() if not known.pending.done()}
            self.records.update(dict.fromkeys(record.handlers, record))
        return first

    def record(self, handler):
        """The push-pull of a number; None when it was waited for before."""
        record = self.records.get(handler)
        if record is None and not (isinstance(handler, int) and 0 <= handler < self.next):
            raise errors.UnknownHandle(f"no push-pull has the number {handler}", handle=handler)
        return record

    def wait(self, handler, timeout_ms):
        record = self.record(handler)
        if record is None:
            return
        try:
            record.pending.wait(timeout_ms / 1000)
        except errors.WaitTimeout:
            raise
        except errors.Error:
            self.finish(record)
            raise
        self.finish(record)

    def finish(self, record):
        with self.lock:
            for handler in record.handlers:
                self.records.pop(handler, None)
                self.finished[handler] = record
            while len(self.finished) > KEPT:
                self.finished.popitem(last=False)

    def all_handlers(self, handler):
        record = self.record(handler) or self.finished.get(handler)
        return [handler] if record is None else list(record.handlers)

    def trace(self, handler):
        record = self.record(handler) or self.finished.get(handler)
        traces = self.worker.fetch_trace(record.pending) if record is not None else []
        # With several servers StepMesh tells of the last that answered; here it is the last by rank.
        return traces[-1] if traces else [0] * 8

    def keep(self, request):
        self.requests[request.id] = request
        return request.id

    def respond(self, handler, tensors, event):
        request = self.requests.get(handler)
        if request is None:
            raise errors.UnknownHandle(f"no request has the number {handler}, or it was answered", handle=handler)
        try:
            if event is None:
                request.respond(tensors)
            else:
                self.server.respond_after(event, request, tensors)
        finally:
            # Where the tensors were none, nothing was said: another answer may be given.
            if request.answered:
                del self.requests[handler]


def now_in_stream(wanted, member, tensors):
    """An event of the stream that this thread has chosen, of a device's where a tensor is on one; None without a stream: what
    was called has been done."""
    if not wanted:
        return None
    for tensor in tensors:
        kind, index = _place(tensor)
        if kind not in _OF_HOST:
            return member.event(_native_stream(tensor, index))
    chosen = pmd_af.current_stream()
    return None if chosen is None else chosen.record()


def _place(tensor):
    """DLPack's numbers; the host's for what it has none for."""
    try:
        return tensor.__dlpack_device__()
    except (AttributeError, BufferError):
        return _HOST


def _native_stream(tensor, index):
    """The handle of PyTorch's current stream; the default stream for other libraries."""
    if torch is None or not isinstance(tensor, torch.Tensor) or tensor.device.type != "cuda":
        return 0
    return torch.cuda.current_stream(index).cuda_stream


def pairs(tensors, keys, what):
    if len(tensors) != len(keys):
        raise errors.PushPullError(f"{len(tensors)} tensors to {what}, {len(keys)} keys")
    return list(zip(keys, tensors))


def arrived(tensor):
    """A pushed tensor, as the library that the caller uses shows it."""
    if torch is not None:
        return tensor.torch()
    try:
        return tensor.numpy()
    except (BufferError, ImportError):
        return tensor
