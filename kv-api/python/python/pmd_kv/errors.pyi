from typing import List, Optional, Tuple

from . import Peer

class Error(Exception):
    kind: Optional[str]
    def __init__(self, message: str = "", **fields: object) -> None: ...

class ConfigurationError(Error, ValueError):
    variable: Optional[str]
    value: Optional[str]

class Closed(Error, ValueError): ...

class WaitTimeout(Error, TimeoutError):
    what: Optional[str]
    timeout: Optional[float]

class EndpointError(Error): ...

class PeerDown(Error, ConnectionError):
    reason: Optional[str]
    blocks: Optional[List[Tuple[range, range]]]
    layer: Optional[int]
    peer: Optional[Peer]

class RequestRefused(Error):
    code: Optional[int]

class AllocateError(Error, MemoryError): ...

class RegisterError(Error): ...

class DeviceError(Error): ...

class LayoutError(Error, ValueError): ...

class PlanError(Error, ValueError): ...

class DescriptorError(Error, ValueError):
    index: Optional[int]
    address: Optional[int]
    length: Optional[int]

class NameTaken(Error):
    name: Optional[str]

class NoSuchCache(Error, LookupError):
    name: Optional[str]

class SubmitError(Error): ...

class TransferFailed(Error):
    entry: Optional[int]
    remote_address: Optional[int]
    syndrome: Optional[str]
    vendor: Optional[int]
    blocks: Optional[List[Tuple[range, range]]]
    layer: Optional[int]

class TransferCancelled(Error):
    blocks: Optional[List[Tuple[range, range]]]
    layer: Optional[int]

class DeadlineExceeded(Error, TimeoutError):
    blocks: Optional[List[Tuple[range, range]]]
    layer: Optional[int]

class TagTaken(Error):
    tag: Optional[int]

class LayerError(Error, ValueError):
    layer: Optional[int]

class LayerNotSent(Error):
    layer: Optional[int]

class LayerLost(Error):
    layer: Optional[int]
    peer: Optional[Peer]
    reason: Optional[str]
    blocks: Optional[List[Tuple[range, range]]]

class KvTransError(Error): ...

class DataDistError(Error):
    status: Optional[int]
