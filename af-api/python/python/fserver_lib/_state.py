"""What this process is, and the numbers that it gave for push-pulls and requests."""

import itertools
import threading
from collections import OrderedDict

from pmd_af import errors

try:
    import torch
except ImportError:
    torch = None

#: Push-pulls whose traces are kept after they were waited for.
KEPT = 4096

#: Push-pulls that nobody waits for, before those that have ended are forgotten.
UNWAITED = 65536


class Record:
    """A push-pull, under the first of its numbers."""

    def __init__(self, pending, handlers):
        self.pending = pending
        self.handlers = handlers


class Role:
    """A worker, a server or a scheduler; none before `init` and after `stop`."""

    def __init__(self, name=None, member=None):
        self.name = name
        self.member = member
        self.lock = threading.Lock()
        self.next = 0
        self.records = {}
        self.finished = OrderedDict()
        self.requests = {}

    def some(self):
        if self.member is None:
            raise errors.Closed("there is no cluster: call init() first")
        return self.member

    def of(self, name):
        self.some()
        if self.name != name:
            raise errors.ConfigurationError(f"this process is a {self.name}: only a {name} can do that")
        return self

    def push_pull(self, push_tensors, push_keys, pull_tensors, pull_keys):
        pushes, pulls = pairs(push_tensors, push_keys, "push"), pairs(pull_tensors, pull_keys, "pull")
        if not pushes and not pulls:
            raise errors.PushPullError("neither a tensor to push nor one to pull")
        pending = self.member.push_pull(pushes, pulls)
        servers = max(len(self.member.servers()), 1)
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
        traces = self.member.fetch_trace(record.pending) if record is not None else []
        # With several servers StepMesh tells of the last that answered; here it is the last by rank.
        return traces[-1] if traces else [0] * 8

    def keep(self, request):
        self.requests[request.id] = request
        return request.id

    def respond(self, handler, tensors):
        request = self.requests.get(handler)
        if request is None:
            raise errors.UnknownHandle(f"no request has the number {handler}, or it was answered", handle=handler)
        try:
            request.respond(tensors)
        finally:
            # Where the tensors were none, nothing was said: another answer may be given.
            if request.answered:
                del self.requests[handler]


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
