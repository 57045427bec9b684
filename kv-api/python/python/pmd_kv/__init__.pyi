from types import TracebackType
from typing import Any, Callable, Dict, Generator, List, Literal, Optional, Protocol, Sequence, Tuple, Type, TypedDict, Union, final

from typing_extensions import Buffer, Self, Unpack

from . import errors as errors
from .errors import Error as Error

__version__: str

__all__ = [
    "Cache",
    "Engine",
    "Error",
    "Fabric",
    "Message",
    "Peer",
    "Plan",
    "Prepared",
    "RemoteCache",
    "Segment",
    "TokenFormat",
    "Transfer",
    "View",
    "__version__",
    "errors",
]

class _DLPack(Protocol):
    def __dlpack__(self) -> object: ...
    def __dlpack_device__(self) -> Tuple[int, int]: ...

class _NumPy(Protocol):
    @property
    def __array_interface__(self) -> Dict[str, Any]: ...

#: NumPy arrays, bytearrays, views, tensors.
Array = Union[Buffer, _NumPy, _DLPack]
#: Block numbers: a list, or an array of 32-bit or 64-bit integers.
Numbers = Union[Sequence[int], Buffer, _NumPy]
#: (local address, remote address, bytes): a list of them, or an array of 64-bit integers with three columns.
Descriptors = Union[Sequence[Tuple[int, int, int]], Buffer, _NumPy]

class Options(TypedDict, total=False):
    """How an engine or fabric is opened. What is not given is as the environment says."""

    name: str
    listen: str
    transport: str
    device: str
    idle: str
    queue_pairs: int
    message_bytes: int
    patience: float
    keep_alive: float
    down_after: float

@final
class Peer:
    @property
    def name(self) -> str: ...
    @property
    def incarnation(self) -> str: ...
    @property
    def transport(self) -> str: ...
    @property
    def down_reason(self) -> Optional[str]: ...
    def close(self) -> None: ...
    def __hash__(self) -> int: ...

@final
class View(Buffer):
    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...
    def __dlpack__(self, *, stream: None = None, **options: Any) -> object: ...
    def __dlpack_device__(self) -> Tuple[int, int]: ...

@final
class TokenFormat:
    def __new__(
        cls,
        tokens: int,
        heads: int,
        head_bytes: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        order: Literal["tokens", "heads"] = "tokens",
    ) -> Self: ...
    @property
    def tokens(self) -> int: ...
    @property
    def heads(self) -> Tuple[int, int]: ...
    @property
    def head_bytes(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    def __eq__(self, other: object) -> bool: ...
    def __ne__(self, other: object) -> bool: ...

@final
class Transfer:
    def done(self) -> bool: ...
    def poll(self) -> Optional[int]: ...
    def wait(self, timeout: Optional[float] = None) -> int: ...
    def request_cancel(self) -> None: ...
    def cancel(self) -> str: ...
    def __await__(self) -> Generator[object, None, int]: ...

class _Closes:
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: Optional[Type[BaseException]] = None,
        value: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None: ...

@final
class Cache(_Closes):
    @property
    def name(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def tensors_per_layer(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    def tensor(self, index: int) -> View: ...
    def block(self, tensor: int, block: int) -> View: ...
    def close(self) -> None: ...

@final
class Prepared:
    @property
    def blocks(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def work_requests(self) -> int: ...
    def estimate(self) -> Tuple[float, bool]: ...
    def post(
        self,
        notify: Optional[bytes] = None,
        *,
        timeout: Optional[float] = None,
        priority: Literal["normal", "high"] = "normal",
    ) -> Transfer: ...

@final
class RemoteCache:
    @property
    def peer(self) -> Peer: ...
    @property
    def name(self) -> str: ...
    @property
    def layers(self) -> int: ...
    @property
    def tensors_per_layer(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def block_bytes(self) -> int: ...
    def pull(
        self,
        local: Cache,
        blocks: Optional[Tuple[Numbers, Numbers]] = None,
        *,
        layers: Optional[Tuple[int, int]] = None,
        to_layer: Optional[int] = None,
        tokens: Union[int, Tuple[int, int, int], None] = None,
    ) -> Prepared: ...
    def push(
        self,
        local: Cache,
        blocks: Optional[Tuple[Numbers, Numbers]] = None,
        *,
        layers: Optional[Tuple[int, int]] = None,
        to_layer: Optional[int] = None,
        tokens: Union[int, Tuple[int, int, int], None] = None,
    ) -> Prepared: ...
    def estimate(self, nbytes: int, work_requests: int) -> Tuple[float, bool]: ...

class Counters(TypedDict):
    posted: int
    completed: int
    failed: int
    cancelled: int
    overdue: int
    bytes: int
    work_requests: int
    notifications: int
    reported: int

class LinkFigures(TypedDict):
    bytes_per_second: float
    request_seconds: float
    observations: int

class PeerMetrics(TypedDict):
    name: str
    incarnation: str
    transport: str
    counters: Counters
    link: LinkFigures

class Metrics(TypedDict):
    total: Counters
    caches: int
    peers: List[PeerMetrics]

@final
class Engine(_Closes):
    def __new__(
        cls, *, on_request: Optional[Callable[[Peer, bytes], bytes]] = None, **options: Unpack[Options]
    ) -> Self: ...
    @property
    def address(self) -> Optional[str]: ...
    def allocate_cache(
        self,
        name: str,
        *,
        layers: int,
        blocks: int,
        block_bytes: Optional[int] = None,
        tensors_per_layer: int = 2,
        format: Optional[TokenFormat] = None,
    ) -> Cache: ...
    def register_cache(
        self,
        name: str,
        tensors: Sequence[Array],
        *,
        blocks: int,
        tensors_per_layer: int = 2,
        format: Optional[TokenFormat] = None,
    ) -> Cache: ...
    def connect(self, address: str) -> Peer: ...
    def accept(self, timeout: Optional[float] = None) -> Peer: ...
    def wait_down(self, timeout: Optional[float] = None) -> Tuple[Peer, str]: ...
    def wait_notification(self, timeout: Optional[float] = None) -> Tuple[Peer, bytes]: ...
    def remote_cache(self, peer: Peer, name: str, timeout: float = 10.0) -> RemoteCache: ...
    def ask(self, peer: Peer, body: bytes, timeout: float = 10.0) -> bytes: ...
    def metrics(self) -> Metrics: ...
    def prometheus(self) -> str: ...
    def close(self) -> None: ...

@final
class Segment:
    @property
    def address(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def view(self) -> View: ...
    def close(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: Optional[Type[BaseException]] = None,
        value: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None: ...

@final
class Message:
    @property
    def peer(self) -> Peer: ...
    @property
    def bytes(self) -> bytes: ...
    @property
    def immediate(self) -> Optional[int]: ...

@final
class Plan:
    @property
    def peer(self) -> Peer: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def work_requests(self) -> int: ...
    def post(
        self,
        notify: Optional[bytes] = None,
        *,
        immediate: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> Transfer: ...

@final
class Fabric(_Closes):
    def __new__(
        cls, *, on_request: Optional[Callable[[Peer, int, bytes], bytes]] = None, **options: Unpack[Options]
    ) -> Self: ...
    @property
    def address(self) -> Optional[str]: ...
    def register(self, array: Array) -> Segment: ...
    def allocate(self, nbytes: int) -> Segment: ...
    def connect(self, address: str) -> Peer: ...
    def accept(self, timeout: Optional[float] = None) -> Peer: ...
    def wait_down(self, timeout: Optional[float] = None) -> Tuple[Peer, str]: ...
    def wait_message(self, timeout: Optional[float] = None) -> Message: ...
    def ask(self, peer: Peer, kind: int, body: bytes, timeout: float = 10.0) -> bytes: ...
    def plan_read(self, peer: Peer, descriptors: Descriptors, *, patience: float = 10.0) -> Plan: ...
    def plan_write(self, peer: Peer, descriptors: Descriptors, *, patience: float = 10.0) -> Plan: ...
    def read(
        self, peer: Peer, descriptors: Descriptors, *, notify: Optional[bytes] = None, timeout: Optional[float] = None
    ) -> Transfer: ...
    def write(
        self, peer: Peer, descriptors: Descriptors, *, notify: Optional[bytes] = None, timeout: Optional[float] = None
    ) -> Transfer: ...
    def close(self) -> None: ...
