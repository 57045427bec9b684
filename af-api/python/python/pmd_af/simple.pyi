from types import TracebackType
from typing import Any, Callable, NamedTuple, Optional, Sequence, Type, Union

from typing_extensions import Self

from . import Server, Worker

__all__ = ["KvRequest", "KvServer", "KvWorker", "Message", "Pairs", "SimpleApp"]

class Pairs(NamedTuple):
    keys: Sequence[int]
    values: Any
    lengths: Optional[Sequence[int]] = None

class KvRequest(NamedTuple):
    worker: int
    command: int
    push: bool
    pull: bool
    pairs: Pairs

class Message(NamedTuple):
    role: str
    rank: int
    timestamp: int
    head: int
    body: bytes

class _Closes:
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: Optional[Type[BaseException]] = None,
        value: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None: ...

class KvWorker:
    dtype: str
    def __init__(self, worker: Worker, dtype: str = "float32", servers: Optional[int] = None) -> None: ...
    def push(self, keys: Sequence[int], values: Any, lengths: Optional[Sequence[int]] = None, command: int = 0) -> int: ...
    def pull(self, keys: Sequence[int], most: int, command: int = 0) -> int: ...
    def push_pull(
        self,
        keys: Sequence[int],
        values: Any,
        most: int,
        lengths: Optional[Sequence[int]] = None,
        command: int = 0,
    ) -> int: ...
    def wait(self, timestamp: int, timeout: Optional[float] = None) -> Pairs: ...
    def is_done(self, timestamp: int) -> bool: ...

class KvServer(_Closes):
    def __init__(
        self,
        server: Server,
        handler: Optional[Callable[[KvRequest], Optional[Pairs]]] = None,
        dtype: str = "float32",
    ) -> None: ...

class SimpleApp(_Closes):
    def __init__(
        self,
        member: Union[Worker, Server],
        number: int = 0,
        on_request: Optional[Callable[[Message], Optional[bytes]]] = None,
        on_response: Optional[Callable[[Message], object]] = None,
    ) -> None: ...
    def request(self, role: str, rank: Optional[int] = None, head: int = 0, body: bytes = b"") -> int: ...
    def wait(self, timestamp: int, timeout: Optional[float] = None) -> None: ...
