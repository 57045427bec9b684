"""Exceptions of the driver. Each has `kind`, the name of the error in the driver, and the values that explain it."""


class Error(Exception):
    """What the driver could not do. Attributes that an error does not have are None."""

    kind = None

    def __init__(self, message="", **fields):
        super().__init__(message)
        self.__dict__.update(fields)


class ConfigurationError(Error, ValueError):
    """An option, or a variable of the environment, cannot have this value."""

    variable = None


class Closed(Error, ValueError):
    """The object was closed before."""


class WaitTimeout(Error, TimeoutError):
    """It did not happen in time. What was waited for goes on."""

    what = None
    timeout = None


class StartError(Error):
    """The scheduler was not reached, or refused; nothing was joined."""


class Incomplete(StartError, TimeoutError):
    """Not everybody came in time."""

    missing = None


class EndpointError(Error):
    """A device, a listener or a connection: nothing was opened."""


class BarrierFailed(Error):
    """A barrier cannot come about: somebody that it waits for is down, or nobody is expected."""

    name = None


class BarrierTimeout(BarrierFailed, TimeoutError):
    """Not everybody came to the barrier in time."""

    missing = None


class StreamError(Error):
    """What a stream was given failed, or it takes nothing more; nothing that waited for it was sent."""


class SchedulerLost(Error, ConnectionError):
    """The scheduler is gone: no barriers, no word of who comes. Push-pulls go on."""


class MemoryFailed(Error, MemoryError):
    """Memory was not allocated, or cannot be registered with a device."""


class TensorError(Error, ValueError):
    """A tensor cannot look like that, or is not where the driver reaches it."""


class PushPullError(Error, ValueError):
    """A push-pull does not fit together. Nothing was sent."""

    server = None
    key = None


class CapacityError(PushPullError):
    """A push larger than the declared room of its key."""

    given = None
    capacity = None


class Full(Error):
    """Too much is in flight to a server: try again when a response has arrived."""

    server = None


class PeerDown(Error, ConnectionError):
    """A server, or a worker, is gone; `reason` tells why."""

    server = None
    worker = None
    reason = None


class Refused(Error):
    """The server gave no data; the response did not fit what was pulled, say."""

    server = None


class Cancelled(Error):
    """The push-pull was cancelled; a part of its data may have arrived. It is quiet."""

    server = None


class TransferFailed(Error):
    """The data did not get to the server. The push-pull is quiet."""

    server = None


class ResponseError(Error, ValueError):
    """The tensors are not what the worker pulls, or the request was answered before."""

    worker = None


class UnknownHandle(Error, LookupError):
    """No push-pull, or no request, has this number."""

    handle = None


class DeviceMissing(Error, NotImplementedError):
    """It needs a CUDA device, and a build with one."""
