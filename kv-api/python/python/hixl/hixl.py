"""HIXL's names over this driver: constants, enums, descriptions and the engine."""

import logging
from enum import IntEnum

from pmd_kv._native import Hixl as _Engine
from pmd_kv._native import TransferOpDesc

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

_log = logging.getLogger("hixl")

SUCCESS = 0
PARAM_INVALID = 103900
TIMEOUT = 103901
NOT_CONNECTED = 103902
ALREADY_CONNECTED = 103903
NOTIFY_FAILED = 103904
UNSUPPORTED = 103905
FAILED = 503900
RESOURCE_EXHAUSTED = 203900

OPTION_ENABLE_USE_FABRIC_MEM = "EnableUseFabricMem"
OPTION_RDMA_TRAFFIC_CLASS = "RdmaTrafficClass"
OPTION_RDMA_SERVICE_LEVEL = "RdmaServiceLevel"
OPTION_BUFFER_POOL = "BufferPool"
OPTION_GLOBAL_RESOURCE_CONFIG = "GlobalResourceConfig"
OPTION_AUTO_CONNECT = "AutoConnect"
OPTION_LOCAL_COMM_RES = "LocalCommRes"

FEATURE_NOT_SUPPORTED = 0
FEATURE_SUPPORTED = 1

_DEFAULT_TIMEOUT = 1000
_UINT32_MAX = 2**32 - 1


class MemType(IntEnum):
    """Where memory is."""

    MEM_DEVICE = 0
    MEM_HOST = 1


class TransferOp(IntEnum):
    """READ: from the peer. WRITE: to the peer."""

    READ = 0
    WRITE = 1


class TransferStatus(IntEnum):
    """How an asynchronous transfer stands."""

    WAITING = 0
    COMPLETED = 1
    TIMEOUT = 2
    FAILED = 3


class AsyncConnectStatus(IntEnum):
    """How a link stands that was asked for asynchronously."""

    NOT_CONNECT = 0
    CONNECT_PENDING = 1
    CONNECTING = 2
    CONNECTED = 3
    CONNECT_FAILED = 4
    DISCONNECT_PENDING = 5
    DISCONNECTING = 6


class FeatureType(IntEnum):
    """What get_capability() is asked about."""

    AUTO_CONNECT = 0
    CLIENT_SERVER_COMM = 1


MEM_DEVICE, MEM_HOST = MemType
READ, WRITE = TransferOp
(
    NOT_CONNECT,
    CONNECT_PENDING,
    CONNECTING,
    CONNECTED,
    CONNECT_FAILED,
    DISCONNECT_PENDING,
    DISCONNECTING,
) = AsyncConnectStatus
AUTO_CONNECT, CLIENT_SERVER_COMM = FeatureType


class _Record:
    """A plain description that shows its attributes."""

    def __repr__(self):
        values = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({values})"


class MemDesc(_Record):
    """Memory of this process."""

    def __init__(self, addr, len):
        self.addr = addr
        self.len = len


class TransferArgs(_Record):
    """What goes with an asynchronous transfer."""

    def __init__(self):
        self.user_data = 0


class GetTransferStatusArgs(_Record):
    """Which asynchronous transfers are asked for."""

    def __init__(self, max_query_count=_UINT32_MAX, skip_waiting=False):
        self.max_query_count = max_query_count
        self.skip_waiting = skip_waiting


class TransferResult(_Record):
    """How one asynchronous transfer stands."""

    def __init__(self):
        self.req = 0
        self.user_data = 0
        self._status = TransferStatus.WAITING

    @property
    def status(self):
        return self._status


class NotifyDesc(_Record):
    """A notification."""

    def __init__(self, name, notify_msg):
        self.name = name
        self.notify_msg = notify_msg


def _taken(call, answer):
    """Status and result of a call; what went wrong is logged."""
    status, result, reason = answer
    if reason is not None:
        _log.warning("%s: %s (%d)", call, reason, status)
    return status, result


def _text(value):
    return value.encode("utf-8", "surrogateescape")


class Hixl:
    """An engine: a server where its name has a port ("ip:port"), else a client ("ip")."""

    def __init__(self):
        self._engine = _Engine()

    def initialize(self, local_engine, options={}):
        return _taken("initialize", self._engine.initialize(local_engine, dict(options)))[0]

    def finalize(self):
        self._engine.finalize()

    def register_mem(self, mem_desc, mem_type, /):
        return _taken("register_mem", self._engine.register_mem(mem_desc.addr, mem_desc.len, mem_type))

    def deregister_mem(self, mem_handle, /):
        return _taken("deregister_mem", self._engine.deregister_mem(mem_handle))[0]

    def connect(self, remote_engine, timeout_in_millis=_DEFAULT_TIMEOUT):
        return _taken("connect", self._engine.connect(remote_engine, timeout_in_millis))[0]

    def disconnect(self, remote_engine, timeout_in_millis=_DEFAULT_TIMEOUT):
        return _taken("disconnect", self._engine.disconnect(remote_engine, timeout_in_millis))[0]

    def connect_async(self, remote_engine, timeout_in_millis=_DEFAULT_TIMEOUT):
        return _taken("connect_async", self._engine.connect_async(remote_engine, timeout_in_millis))[0]

    def disconnect_async(self, remote_engine, timeout_in_millis=_DEFAULT_TIMEOUT):
        return _taken("disconnect_async", self._engine.disconnect_async(remote_engine, timeout_in_millis))[0]

    def get_async_connect_status(self, remote_engine, /):
        status, state = _taken("get_async_connect_status", self._engine.get_async_connect_status(remote_engine))
        return status, AsyncConnectStatus(state)

    def get_all_async_connect_status(self):
        status, states = _taken("get_all_async_connect_status", self._engine.get_all_async_connect_status())
        return status, {name: AsyncConnectStatus(state) for name, state in states.items()}

    def transfer_sync(self, remote_engine, op, op_descs, timeout_in_millis=_DEFAULT_TIMEOUT):
        answer = self._engine.transfer_sync(remote_engine, op, op_descs, timeout_in_millis)
        return _taken("transfer_sync", answer)[0]

    def transfer_async(self, remote_engine, op, op_descs, args=None):
        user_data = 0 if args is None else args.user_data
        return _taken("transfer_async", self._engine.transfer_async(remote_engine, op, op_descs, user_data))

    def get_transfer_status(self, req_id, /):
        status, state = _taken("get_transfer_status", self._engine.get_transfer_status(req_id))
        return status, TransferStatus(state)

    def get_all_transfer_status(self, args=None):
        args = GetTransferStatusArgs() if args is None else args
        answer = self._engine.get_all_transfer_status(args.max_query_count, args.skip_waiting)
        status, found = _taken("get_all_transfer_status", answer)
        results = []
        for req, user_data, state in found:
            result = TransferResult()
            result.req, result.user_data, result._status = req, user_data, TransferStatus(state)
            results.append(result)
        return status, results

    def send_notify(self, remote_engine, notify, timeout_in_millis=_DEFAULT_TIMEOUT):
        name, message = _text(notify.name), _text(notify.notify_msg)
        return _taken("send_notify", self._engine.send_notify(remote_engine, name, message, timeout_in_millis))[0]

    def get_notifies(self):
        status, found = _taken("get_notifies", self._engine.get_notifies())
        shown = lambda text: text.decode("utf-8", "surrogateescape")
        return status, [NotifyDesc(shown(name), shown(message)) for name, message in found]


def get_capability(feature_type, /):
    """Whether a feature is there: FEATURE_SUPPORTED or FEATURE_NOT_SUPPORTED."""
    return _taken("get_capability", _Engine.get_capability(feature_type))
