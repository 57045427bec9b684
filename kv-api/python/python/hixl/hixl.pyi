from enum import IntEnum
from typing import Dict, Final, List, Mapping, Optional, Sequence, Tuple, final

__all__ = [
    "ALREADY_CONNECTED",
    "AUTO_CONNECT",
    "AsyncConnectStatus",
    "CLIENT_SERVER_COMM",
    "CONNECTED",
    "CONNECTING",
    "CONNECT_FAILED",
    "CONNECT_PENDING",
    "DISCONNECTING",
    "DISCONNECT_PENDING",
    "FAILED",
    "FEATURE_NOT_SUPPORTED",
    "FEATURE_SUPPORTED",
    "FeatureType",
    "GetTransferStatusArgs",
    "Hixl",
    "MEM_DEVICE",
    "MEM_HOST",
    "MemDesc",
    "MemType",
    "NOTIFY_FAILED",
    "NOT_CONNECT",
    "NOT_CONNECTED",
    "NotifyDesc",
    "OPTION_AUTO_CONNECT",
    "OPTION_BUFFER_POOL",
    "OPTION_ENABLE_USE_FABRIC_MEM",
    "OPTION_GLOBAL_RESOURCE_CONFIG",
    "OPTION_LOCAL_COMM_RES",
    "OPTION_RDMA_SERVICE_LEVEL",
    "OPTION_RDMA_TRAFFIC_CLASS",
    "PARAM_INVALID",
    "READ",
    "RESOURCE_EXHAUSTED",
    "SUCCESS",
    "TIMEOUT",
    "TransferArgs",
    "TransferOp",
    "TransferOpDesc",
    "TransferResult",
    "TransferStatus",
    "UNSUPPORTED",
    "WRITE",
    "get_capability",
]

SUCCESS: Final = 0
PARAM_INVALID: Final = 103900
TIMEOUT: Final = 103901
NOT_CONNECTED: Final = 103902
ALREADY_CONNECTED: Final = 103903
NOTIFY_FAILED: Final = 103904
UNSUPPORTED: Final = 103905
FAILED: Final = 503900
RESOURCE_EXHAUSTED: Final = 203900

OPTION_ENABLE_USE_FABRIC_MEM: str
OPTION_RDMA_TRAFFIC_CLASS: str
OPTION_RDMA_SERVICE_LEVEL: str
OPTION_BUFFER_POOL: str
OPTION_GLOBAL_RESOURCE_CONFIG: str
OPTION_AUTO_CONNECT: str
OPTION_LOCAL_COMM_RES: str
FEATURE_SUPPORTED: Final = 1
FEATURE_NOT_SUPPORTED: Final = 0

class MemType(IntEnum):
    MEM_DEVICE = 0
    MEM_HOST = 1

class TransferOp(IntEnum):
    READ = 0
    WRITE = 1

class TransferStatus(IntEnum):
    WAITING = 0
    COMPLETED = 1
    TIMEOUT = 2
    FAILED = 3

class AsyncConnectStatus(IntEnum):
    NOT_CONNECT = 0
    CONNECT_PENDING = 1
    CONNECTING = 2
    CONNECTED = 3
    CONNECT_FAILED = 4
    DISCONNECT_PENDING = 5
    DISCONNECTING = 6

class FeatureType(IntEnum):
    AUTO_CONNECT = 0
    CLIENT_SERVER_COMM = 1

MEM_DEVICE: MemType
MEM_HOST: MemType
READ: TransferOp
WRITE: TransferOp
NOT_CONNECT: AsyncConnectStatus
CONNECT_PENDING: AsyncConnectStatus
CONNECTING: AsyncConnectStatus
CONNECTED: AsyncConnectStatus
CONNECT_FAILED: AsyncConnectStatus
DISCONNECT_PENDING: AsyncConnectStatus
DISCONNECTING: AsyncConnectStatus
AUTO_CONNECT: FeatureType
CLIENT_SERVER_COMM: FeatureType

class MemDesc:
    addr: int
    len: int
    def __init__(self, addr: int, len: int) -> None: ...

@final
class TransferOpDesc:
    local_addr: int
    remote_addr: int
    len: int
    def __new__(cls, local_addr: int, remote_addr: int, len: int) -> TransferOpDesc: ...

class TransferArgs:
    user_data: int

class GetTransferStatusArgs:
    max_query_count: int
    skip_waiting: bool
    def __init__(self, max_query_count: int = ..., skip_waiting: bool = False) -> None: ...

class TransferResult:
    req: int
    user_data: int
    @property
    def status(self) -> TransferStatus: ...

class NotifyDesc:
    name: str
    notify_msg: str
    def __init__(self, name: str, notify_msg: str) -> None: ...

class Hixl:
    def initialize(self, local_engine: str, options: Mapping[str, str] = {}) -> int: ...
    def finalize(self) -> None: ...
    def register_mem(self, mem_desc: MemDesc, mem_type: MemType, /) -> Tuple[int, int]: ...
    def deregister_mem(self, mem_handle: int, /) -> int: ...
    def connect(self, remote_engine: str, timeout_in_millis: int = 1000) -> int: ...
    def disconnect(self, remote_engine: str, timeout_in_millis: int = 1000) -> int: ...
    def connect_async(self, remote_engine: str, timeout_in_millis: int = 1000) -> int: ...
    def disconnect_async(self, remote_engine: str, timeout_in_millis: int = 1000) -> int: ...
    def get_async_connect_status(self, remote_engine: str, /) -> Tuple[int, AsyncConnectStatus]: ...
    def get_all_async_connect_status(self) -> Tuple[int, Dict[str, AsyncConnectStatus]]: ...
    def transfer_sync(
        self, remote_engine: str, op: TransferOp, op_descs: Sequence[TransferOpDesc], timeout_in_millis: int = 1000
    ) -> int: ...
    def transfer_async(
        self,
        remote_engine: str,
        op: TransferOp,
        op_descs: Sequence[TransferOpDesc],
        args: Optional[TransferArgs] = None,
    ) -> Tuple[int, int]: ...
    def get_transfer_status(self, req_id: int, /) -> Tuple[int, TransferStatus]: ...
    def get_all_transfer_status(
        self, args: Optional[GetTransferStatusArgs] = None
    ) -> Tuple[int, List[TransferResult]]: ...
    def send_notify(self, remote_engine: str, notify: NotifyDesc, timeout_in_millis: int = 1000) -> int: ...
    def get_notifies(self) -> Tuple[int, List[NotifyDesc]]: ...

def get_capability(feature_type: FeatureType, /) -> Tuple[int, int]: ...
