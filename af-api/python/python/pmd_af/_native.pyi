"""The compiled half; what is not private is told in the package's own stub."""

from . import Gathering as Gathering
from . import Node as Node
from . import Pending as Pending
from . import Request as Request
from . import Response as Response
from . import Scheduler as Scheduler
from . import Server as Server
from . import Tensor as Tensor
from . import Worker as Worker
from . import now as now
from . import wait_any as wait_any

__version__: str
