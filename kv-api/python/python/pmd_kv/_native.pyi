"""The compiled half; what is not private is told in the package's own stub."""

from typing import Any

from . import Cache as Cache
from . import Device as Device
from . import DeviceMemory as DeviceMemory
from . import Engine as Engine
from . import Fabric as Fabric
from . import Landing as Landing
from . import LayerArrivals as LayerArrivals
from . import LayerStream as LayerStream
from . import Message as Message
from . import Peer as Peer
from . import Plan as Plan
from . import Prepared as Prepared
from . import RemoteCache as RemoteCache
from . import Segment as Segment
from . import TokenFormat as TokenFormat
from . import Transfer as Transfer
from . import TransferFailure as TransferFailure
from . import View as View

__version__: str

class Bell:
    def fileno(self) -> int: ...
    def take(self) -> list[int]: ...

CacheTask: Any
DataDist: Any
Hixl: Any
KvTrans: Any
TransferOpDesc: Any
