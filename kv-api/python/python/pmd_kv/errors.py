"""Exceptions of the driver. Each has `kind`, the name of the error in the driver, and the values that explain it."""


class Error(Exception):
    """What the driver could not do. Attributes that an error does not have are None."""

    kind = None

    def __init__(self, message="", **fields):
        super().__init__(message)
        self.__dict__.update(fields)


class ConfigurationError(Error, ValueError):
    """An option cannot have this value."""

    variable = None
    value = None


class Closed(Error, ValueError):
    """The object was closed before."""


class WaitTimeout(Error, TimeoutError):
    """It did not happen in time. What was waited for goes on."""

    what = None
    timeout = None


class EndpointError(Error):
    """A device, a listener or a connection: nothing was opened."""


class PeerDown(Error, ConnectionError):
    """The peer is gone, or was closed; connect again. Of a transfer of caches it says which blocks are not valid."""

    reason = None
    blocks = None
    layer = None
    peer = None


class RequestRefused(Error):
    """The peer's application refused, or raised: its text is the message."""

    code = None


class AllocateError(Error, MemoryError):
    """There is not enough memory."""


class RegisterError(Error):
    """The memory cannot be registered with a device."""


class DeviceError(Error):
    """An accelerator does not take memory for its own (foreign, freed, managed, of another device), or has failed."""


class LayoutError(Error, ValueError):
    """A cache cannot look like that."""


class PlanError(Error, ValueError):
    """The selection does not fit the two caches. Nothing was posted."""


class DescriptorError(Error, ValueError):
    """A descriptor names memory that is not registered. Nothing was posted."""

    index = None
    address = None
    length = None


class NameTaken(Error):
    """A cache of this name is registered."""

    name = None


class NoSuchCache(Error, LookupError):
    """The peer has no cache of this name."""

    name = None


class SubmitError(Error):
    """The lane did not take the transfer. Nothing was posted."""


class TransferFailed(Error):
    """A transfer failed; a part of its bytes may have moved. It is quiet."""

    entry = None
    remote_address = None
    syndrome = None
    vendor = None
    blocks = None
    layer = None


class TransferCancelled(Error):
    """A transfer was cancelled; a part of its bytes may have moved. It is quiet."""

    blocks = None
    layer = None


class DeadlineExceeded(Error, TimeoutError):
    """A transfer was given up at its deadline; a part of its bytes may have moved. It is quiet."""

    blocks = None
    layer = None


class TagTaken(Error):
    """The layers of a stream of this tag are expected already."""

    tag = None


class LayerError(Error, ValueError):
    """The stream has no such layer, or it was released before."""

    layer = None


class LayerNotSent(Error):
    """The stream ended before the layer was sent. What ended it is the cause, if it was an exception."""

    layer = None


class LayerLost(Error):
    """A sender's part of a layer did not land: these blocks of it are not valid."""

    layer = None
    peer = None
    reason = None
    blocks = None


class KvTransError(Error):
    """What `kvtrans_engine` reports as False."""


class DataDistError(Error):
    """What `llm_datadist` reports as LLMException."""

    status = None
