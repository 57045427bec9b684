"""The compiled half; what is not private is told in the package's own stub."""

from typing import Callable, List, Optional, Sequence, Tuple, Union, final

from typing_extensions import Self

from . import Event as Event
from . import Exchange as Exchange
from . import Gathering as Gathering
from . import Node as Node
from . import Pending as Pending
from . import Request as Request
from . import Response as Response
from . import Scheduler as Scheduler
from . import Server as Server
from . import Service as Service
from . import Stream as Stream
from . import Tensor as Tensor
from . import Worker as Worker
from . import now as now
from . import wait_any as wait_any

__version__: str

#: Keys, the bytes of their values, how many each has.
_Pairs = Tuple[List[int], Union[bytes, List[int]], Optional[List[int]]]

@final
class KvWorker:
    def __new__(cls, worker: Worker, servers: int, dtype: str) -> Self: ...
    def push(self, pairs: _Pairs, command: int) -> int: ...
    def pull(self, keys: Sequence[int], most: int, command: int) -> int: ...
    def push_pull(self, pairs: _Pairs, most: int, command: int) -> int: ...
    def wait(self, timestamp: int, timeout: Optional[float]) -> _Pairs: ...
    def is_done(self, timestamp: int) -> bool: ...

@final
class KvServer:
    def __new__(
        cls,
        server: Server,
        handler: Optional[Callable[[int, int, bool, bool, _Pairs], Optional[_Pairs]]],
        dtype: str,
    ) -> Self: ...

@final
class SimpleApp:
    def __new__(
        cls,
        member: Union[Worker, Server],
        number: int,
        request: Optional[Callable[[Tuple[str, int, int, int, bytes]], Optional[bytes]]],
        response: Optional[Callable[[Tuple[str, int, int, int, bytes]], object]],
    ) -> Self: ...
    def request(self, role: str, rank: Optional[int], head: int, body: bytes) -> int: ...
    def wait(self, timestamp: int, timeout: Optional[float]) -> None: ...
