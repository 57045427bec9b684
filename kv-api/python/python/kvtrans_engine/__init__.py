"""KVTrans Engine - key-value transport over RDMA and shared memory.

`Engine` is the interface of the beginning, with buffers; `Endpoint` those that followed, with buffers and with
addresses. As upstream, calls return whether they worked; why they did not is logged by the logger of this name.
"""

import atexit
import logging
import weakref

from pmd_kv import errors as _errors
from pmd_kv._native import KvTrans as _KvTrans

__all__ = ["Endpoint", "Engine", "buffer_to_string", "create_buffer"]

_log = logging.getLogger("kvtrans_engine")

#: Engines that nobody has closed: upstream's need no closing, and peers must not wait for a process that has ended.
_open = weakref.WeakSet()


@atexit.register
def _close_all():
    for engine in list(_open):
        engine.close()


def _attempt(call, *arguments):
    """Whether a call worked, and its result."""
    try:
        return True, call(*arguments)
    except _errors.Error as problem:
        _log.warning("%s: %s", call.__name__, problem)
        return False, None


def _host(ip_addr):
    return f"[{ip_addr}]" if ":" in ip_addr and not ip_addr.startswith("[") else ip_addr


class Engine:
    """Sends and receives key-value buffers over connections of `ncpus` lanes with `nconn_per_cpu` queue pairs each."""

    def __init__(self, if_name, ncpus, nconn_per_cpu, listen_port):
        self._engine = _KvTrans.on_interface(if_name, ncpus, nconn_per_cpu, listen_port)
        _open.add(self)

    @property
    def listen_address(self):
        """ "ip:port" that peers connect to; tells the port where listen_port is 0. Not upstream's."""
        return self._engine.address

    def connect(self, ip_addr, port):
        """Connects to a remote engine: (success, conn_id)."""
        success, connection = _attempt(self._engine.connect, f"{_host(ip_addr)}:{port}")
        return success, connection or 0

    def accept(self):
        """Waits for a remote engine to connect: (success, ip_addr, port, conn_id)."""
        success, peer = _attempt(self._engine.accept)
        if not success:
            return False, "", 0, 0
        ip_addr, port, _, connection = peer
        return True, ip_addr, port, connection

    def reg_kv(self, conn_id, buffer):
        """Registers a buffer for a connection: (success, kv_id)."""
        success, kv_id = _attempt(self._engine.reg, buffer, conn_id)
        return success, kv_id or 0

    def send_kv(self, kv_id, buffer):
        """Sends a buffer to the next receive of the peer, and waits until it is there."""
        return _attempt(self._engine.send, kv_id, buffer)[0]

    def recv_kv(self, kv_id, max_size):
        """Receives the next send of the peer: (success, bytes). The registered buffer has the bytes too."""
        success, received = _attempt(self._engine.recv, kv_id, max_size)
        return success, received or b""

    def dereg_kv(self, kv_id):
        """Releases a buffer: when it returns nothing touches it any more. Not upstream's."""
        return _attempt(self._engine.dereg, kv_id, True)[0]

    def close(self):
        """Closes all connections: when it returns nothing touches a registered buffer. Not upstream's."""
        self._engine.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def __repr__(self):
        return "<KVTrans Engine>"


class Endpoint:
    """As Engine, with peers named by host and accelerator. Memory is registered for all connections, as a buffer, or as
    address and size."""

    def __init__(self, *arguments, **keywords):
        names = {"local_gpu_idx": 0, "gpu_idx": 0, "num_cpus": 1, "ncpus": 1}
        given = list(arguments) + [None] * (2 - len(arguments))
        for name, value in keywords.items():
            if name not in names or given[names[name]] is not None:
                raise TypeError(f"Endpoint() got an unexpected argument {name!r}")
            given[names[name]] = value
        if len(given) != 2 or None in given:
            raise TypeError("Endpoint(local_gpu_idx, num_cpus)")
        self._engine = _KvTrans.for_gpu(*given)
        _open.add(self)

    def connect(self, *arguments, **keywords):
        """Connects to the endpoint of an accelerator of a host: (success, conn_id)."""
        remote_ip_addr, remote_gpu_idx = _named(
            "connect", arguments, keywords, [("remote_ip_addr", "ip_addr"), ("remote_gpu_idx",)]
        )
        success, connection = _attempt(self._engine.connect_gpu, _host(remote_ip_addr), remote_gpu_idx)
        return success, connection or 0

    def accept(self):
        """Waits for a remote endpoint to connect: (success, ip, accelerator, conn_id)."""
        success, peer = _attempt(self._engine.accept)
        if not success:
            return False, "", 0, 0
        ip_addr, _, gpu, connection = peer
        return True, ip_addr, gpu, connection

    def reg_kv(self, *arguments, **keywords):
        """reg_kv(buffer) or reg_kv(ptr, size): (success, mr_id)."""
        if _takes_address(arguments, keywords, 2, ("ptr", "size")):
            ptr, size = _named("reg_kv", arguments, keywords, [("ptr",), ("size",)])
            success, memory = _attempt(self._engine.reg_address, ptr, size)
        else:
            (buffer,) = _named("reg_kv", arguments, keywords, [("buffer",)])
            success, memory = _attempt(self._engine.reg, buffer)
        return success, memory or 0

    def send_kv(self, *arguments, **keywords):
        """send_kv(conn_id, mr_id, buffer) or send_kv(conn_id, mr_id, ptr, size)."""
        path = [("conn_id",), ("mr_id",)]
        if _takes_address(arguments, keywords, 4, ("ptr", "size")):
            connection, memory, ptr, size = _named("send_kv", arguments, keywords, path + [("ptr",), ("size",)])
            return _attempt(self._engine.send_address, (connection, memory), (ptr, size))[0]
        connection, memory, buffer = _named("send_kv", arguments, keywords, path + [("buffer",)])
        return _attempt(self._engine.send, (connection, memory), buffer)[0]

    def recv_kv(self, *arguments, **keywords):
        """recv_kv(conn_id, mr_id, max_size): (success, bytes). With ptr before max_size: (success, size)."""
        path = [("conn_id",), ("mr_id",)]
        if _takes_address(arguments, keywords, 4, ("ptr",)):
            names = path + [("ptr",), ("max_size",)]
            connection, memory, ptr, size = _named("recv_kv", arguments, keywords, names)
            success, received = _attempt(self._engine.recv_address, (connection, memory), (ptr, size))
            return success, received or 0
        connection, memory, size = _named("recv_kv", arguments, keywords, path + [("max_size",)])
        success, received = _attempt(self._engine.recv, (connection, memory), size)
        return success, received or b""

    def dereg_kv(self, mr_id):
        """Releases memory: when it returns nothing touches it any more. Not upstream's."""
        return _attempt(self._engine.dereg, mr_id, False)[0]

    def close(self):
        """Closes all connections: when it returns nothing touches registered memory. Not upstream's."""
        self._engine.close()

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def __repr__(self):
        return "<KVTrans Endpoint>"


def _takes_address(arguments, keywords, count, names):
    """Whether a call is of the later form, with addresses."""
    return any(name in keywords for name in names) or len(arguments) + len(keywords) == count


def _named(call, arguments, keywords, names):
    """The values of arguments that may be given by position or by one of their names."""
    values, left = list(arguments), dict(keywords)
    for accepted in names[len(values) :]:
        found = [name for name in accepted if name in left]
        if not found:
            raise TypeError(f"{call}() misses argument {accepted[0]!r}")
        values.append(left.pop(found[0]))
    if left or len(values) > len(names):
        raise TypeError(f"{call}() got too many arguments: {', '.join(left) or len(values)}")
    return values


def create_buffer(size, fill_value=0):
    """A buffer of `size` bytes of one value."""
    return bytearray([fill_value]) * size


def buffer_to_string(buffer):
    """A buffer's bytes as text."""
    return bytes(memoryview(buffer).cast("B")).decode()
