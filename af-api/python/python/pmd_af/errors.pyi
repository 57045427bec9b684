from typing import Optional, Sequence

class Error(Exception):
    kind: Optional[str]
    def __init__(self, message: str = "", **fields: object) -> None: ...

class ConfigurationError(Error, ValueError):
    variable: Optional[str]

class Closed(Error, ValueError): ...

class WaitTimeout(Error, TimeoutError):
    what: Optional[str]
    timeout: Optional[float]

class StartError(Error): ...

class Incomplete(StartError, TimeoutError):
    missing: Optional[Sequence[str]]

class EndpointError(Error): ...

class BarrierFailed(Error):
    name: Optional[str]

class BarrierTimeout(BarrierFailed, TimeoutError):
    missing: Optional[Sequence[str]]

class StreamError(Error): ...
class SchedulerLost(Error, ConnectionError): ...
class MemoryFailed(Error, MemoryError): ...
class TensorError(Error, ValueError): ...

class PushPullError(Error, ValueError):
    server: Optional[int]
    key: Optional[int]

class CapacityError(PushPullError):
    given: Optional[int]
    capacity: Optional[int]

class Full(Error):
    server: Optional[int]

class PeerDown(Error, ConnectionError):
    server: Optional[int]
    worker: Optional[int]
    reason: Optional[str]

class Refused(Error):
    server: Optional[int]

class Cancelled(Error):
    server: Optional[int]

class TransferFailed(Error):
    server: Optional[int]

class ResponseError(Error, ValueError):
    worker: Optional[int]

class UnknownHandle(Error, LookupError):
    handle: Optional[int]

class DeviceMissing(Error, NotImplementedError): ...
