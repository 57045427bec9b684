"""ps-lite's simple API: key-values on servers, and small requests between applications.

`KvWorker` pushes and pulls values under keys, which servers share by range; `KvServer` keeps their sums, or asks a
function. `SimpleApp` sends requests of some bytes to members and calls a function for those that come. Values are
NumPy's arrays where NumPy is installed, else memoryviews.
"""

import array
from collections import namedtuple

from ._native import KvServer as _KvServer
from ._native import KvWorker as _KvWorker
from ._native import SimpleApp as _SimpleApp

try:
    import numpy
except ImportError:
    numpy = None

__all__ = ["KvRequest", "KvServer", "KvWorker", "Message", "Pairs", "SimpleApp"]

#: Keys, the values of all of them one after the other, and how many each has: None where all have the same number.
Pairs = namedtuple("Pairs", ["keys", "values", "lengths"], defaults=[None])
#: Rank of the worker, its application's number, whether it pushes, whether it pulls, keys and what is pushed.
KvRequest = namedtuple("KvRequest", ["worker", "command", "push", "pull", "pairs"])
#: Role and rank of who sent it, its number there, the application's number and bytes.
Message = namedtuple("Message", ["role", "rank", "timestamp", "head", "body"])

_CODES = {
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
}


def _emitted(keys, values, lengths, dtype):
    if numpy is not None:
        values = numpy.ascontiguousarray(values, dtype).tobytes()
    else:
        values = array.array(_CODES[dtype], values).tobytes()
    return [int(key) for key in keys], values, None if lengths is None else [int(length) for length in lengths]


def _parsed(pairs, dtype):
    keys, values, lengths = pairs
    values = bytes(values)
    if numpy is not None:
        return Pairs(keys, numpy.frombuffer(values, dtype), lengths)
    return Pairs(keys, memoryview(values).cast(_CODES[dtype]), lengths)


class KvWorker:
    """Pushes and pulls key-values over a worker, to its servers of the ranks below `servers`: all, if it is not given."""

    def __init__(self, worker, dtype="float32", servers=None):
        self.dtype = dtype
        self._native = _KvWorker(worker, worker.node.servers if servers is None else servers, dtype)

    def push(self, keys, values, lengths=None, command=0):
        """Pushes values under keys, which increase; a number for `wait`. The values are copied."""
        return self._native.push(_emitted(keys, values, lengths, self.dtype), command)

    def pull(self, keys, most, command=0):
        """Pulls the values of keys, at most so many of each; `wait` returns them."""
        return self._native.pull([int(key) for key in keys], most, command)

    def push_pull(self, keys, values, most, lengths=None, command=0):
        """Pushes, and pulls what the servers answer for the same keys."""
        return self._native.push_pull(_emitted(keys, values, lengths, self.dtype), most, command)

    def wait(self, timestamp, timeout=None):
        """Waits for a request and returns what it brought, once. After WaitTimeout it goes on."""
        return _parsed(self._native.wait(timestamp, timeout), self.dtype)

    def is_done(self, timestamp):
        """Whether a request is done."""
        return self._native.is_done(timestamp)


class KvServer:
    """Serves key-values over a server, until it is closed: the sums of what was pushed under each key, or what `handler`
    returns. That is called with a `KvRequest` and returns `Pairs`, or None where nothing is pulled; if it raises, the request
    is refused. It takes every request of the server."""

    def __init__(self, server, handler=None, dtype="float32"):
        self._native = _KvServer(server, None if handler is None else self._calls(handler, dtype), dtype)

    @staticmethod
    def _calls(handler, dtype):
        def call(worker, command, push, pull, pairs):
            answer = handler(KvRequest(worker, command, push, pull, _parsed(pairs, dtype)))
            return None if answer is None else _emitted(*answer, dtype)

        return call

    def close(self):
        """Ends when the call that runs has returned."""
        self._native = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SimpleApp:
    """An application of a worker or a server, known by its number to those of the same number at the other side.

    `on_request` is called with a `Message` and returns the answer's bytes, or None for no answer; `on_response` with each
    answer. Both are called on a thread of the application's.
    """

    def __init__(self, member, number=0, on_request=None, on_response=None):
        def calls(handler):
            return handler and (lambda told: handler(Message(*told[:4], bytes(told[4]))))

        self._native = _SimpleApp(member, number, calls(on_request), calls(on_response))

    def request(self, role, rank=None, head=0, body=b""):
        """Sends a request to a worker or a server of a rank, or to all that are connected; a number for `wait`."""
        return self._native.request(role, rank, head, bytes(body))

    def wait(self, timestamp, timeout=None):
        """Waits until everybody has answered, and `on_response` was called for it."""
        self._native.wait(timestamp, timeout)

    def close(self):
        """Ends its thread."""
        self._native = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
