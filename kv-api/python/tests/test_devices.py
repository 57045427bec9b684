"""Memory of accelerators. On ordinary memory in a device's place, and, where PMD_TEST_DEVICE names one, on that: the suite
runs it with a stand-in for each runtime on its library path. Touching device memory ends the process."""

import ctypes
import gc
import os
import threading

import numpy as np
import pytest

import hixl
import kvtrans_engine
import pmd_kv
from conftest import PATIENCE
from llm_datadist import (
    BlocksCacheKey,
    CacheDesc,
    DataType,
    LLMClusterInfo,
    LLMConfig,
    LLMDataDist,
    LLMException,
    LLMRole,
    LLMStatusCode,
    Placement,
)
from test_examples import free_ports

NAME = os.environ.get("PMD_TEST_DEVICE", "cpu:0")
RUNTIME = NAME.split(":")[0].removeprefix("fake-")
DLPACK = {"cuda": 2, "rocm": 10, "ascend": 12}.get(RUNTIME)
SIZE = 300_000

runtime = pytest.mark.skipif(DLPACK is None, reason="ordinary memory is no tensor library's; PMD_TEST_DEVICE names a device")


def bytes_of(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


@pytest.fixture
def device():
    return pmd_kv.Device(NAME)


@pytest.fixture
def pair(device):
    """Two fabrics that drive the device, connected."""
    with pmd_kv.Fabric(name="there", listen="127.0.0.1:0", accelerators=device) as there:
        with pmd_kv.Fabric(name="here", accelerators=[device]) as here:
            yield here, there, here.connect(there.address)


@pytest.fixture
def named(monkeypatch):
    """What the drop-ins are told."""
    monkeypatch.setenv("PMD_ACCELERATORS", NAME)


def allocated(device, content):
    memory = device.allocate(content.nbytes)
    memory.copy_from(content)
    return memory


class Tensor:
    """What a tensor library shows, with the streams that it was told."""

    def __init__(self, memory):
        self.memory, self.streams = memory, []

    def __dlpack_device__(self):
        return self.memory.__dlpack_device__()

    def __dlpack__(self, *, stream=None):
        self.streams.append(stream)
        return self.memory.__dlpack__(stream=stream)


class Interface:
    """An array of CuPy's or Numba's."""

    def __init__(self, memory, **changes):
        self.memory = memory
        self.__cuda_array_interface__ = {**memory.__cuda_array_interface__, **changes}


class Foreign:
    """A tensor that says what it likes."""

    def __init__(self, device, memory):
        self.device, self.memory = device, memory

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None):
        return self.memory.__dlpack__()


def test_a_device_has_a_name_and_memory(device):
    assert device.name == NAME.removeprefix("fake-") and device.model in repr(device)
    content = bytes_of(1)
    memory = allocated(device, content)
    assert (memory.nbytes, len(memory), memory.device.name) == (SIZE, SIZE, device.name)
    assert memory.tobytes() == content.tobytes()
    back = np.zeros(1000, np.uint8)
    memory.copy_to(back)
    assert np.array_equal(back, content[:1000])
    for array in (bytearray(SIZE + 1), np.zeros(SIZE + 1, np.uint8)):
        with pytest.raises(ValueError, match=f"{SIZE + 1} bytes for memory of {SIZE}"):
            memory.copy_from(array)
    with pytest.raises(BufferError):
        memory.copy_to(b"read-only")
    with pytest.raises(TypeError):
        memoryview(memory)
    device.synchronize()
    device.synchronize(-1)
    with pytest.raises(pmd_kv.errors.DeviceError if RUNTIME != "cpu" else pmd_kv.Error):
        device.synchronize(0x7FFF_FFFF_1234)


def test_devices_that_are_not_here_are_named():
    for name, why in [("gpu", "names no device"), ("", "a name"), (f"{RUNTIME}:4000", "" if RUNTIME == "cpu" else "4000")]:
        if RUNTIME == "cpu" and name.startswith("cpu"):
            continue
        with pytest.raises(ValueError, match=why):
            pmd_kv.Device(name)
    with pytest.raises(pmd_kv.errors.ConfigurationError) as refused:
        pmd_kv.Fabric(accelerators=f"{NAME},gpu:1")
    assert (refused.value.kind, refused.value.value) == ("Accelerator", "gpu:1")


def test_memory_moves_both_ways_between_devices_and_hosts(device, pair):
    here, there, peer = pair
    content = bytes_of(2)
    near, far = allocated(device, content), device.allocate(SIZE)
    host = np.zeros(SIZE, np.uint8)
    segments = [here.register(near), there.register(far), there.register(host)]
    assert [segment.address for segment in segments[:2]] == [near.address, far.address]
    here.write(peer, [(near.address, far.address, SIZE)]).wait(PATIENCE)
    assert far.tobytes() == content.tobytes()
    half = SIZE // 2
    turned = [(near.address, segments[2].address + half, half), (near.address + half, segments[2].address, half)]
    here.write(peer, turned).wait(PATIENCE)
    assert host.tobytes() == content[half:].tobytes() + content[:half].tobytes()
    host[:] = 7
    here.read(peer, [(near.address, segments[2].address, SIZE)]).wait(PATIENCE)
    assert near.tobytes() == bytes([7]) * SIZE
    view = segments[0].view()
    assert (view.address, view.nbytes) == (near.address, SIZE)
    with pytest.raises(BufferError, match="DLPack"):
        memoryview(view)


def test_a_fabric_without_the_accelerator_refuses_its_memory(device):
    with pmd_kv.Fabric(transport="shm") as fabric:
        with pytest.raises(pmd_kv.errors.RegisterError, match="accelerators|soft HCA does not drive"):
            fabric.register(device.allocate(64))


def test_ordinary_memory_has_no_place_in_dlpack():
    memory = pmd_kv.Device("cpu:0").allocate(64)
    for ask in (memory.__dlpack__, memory.__dlpack_device__):
        with pytest.raises(BufferError, match="no device type"):
            ask()
    assert not hasattr(memory, "__cuda_array_interface__")


@runtime
def test_tensors_are_registered_by_dlpack_and_told_that_nothing_waits(device, pair):
    here, there, peer = pair
    near, far = Tensor(allocated(device, bytes_of(3))), Tensor(device.allocate(SIZE))
    assert near.__dlpack_device__() == (DLPACK, 0)
    segments = [here.register(near), there.register(far)]
    here.write(peer, [(segments[0].address, segments[1].address, SIZE)]).wait(PATIENCE)
    assert far.memory.tobytes() == bytes_of(3).tobytes()
    assert near.streams == [None if RUNTIME == "ascend" else -1]
    # A view of a segment is a tensor again.
    again = Tensor(segments[1].view())
    assert again.__dlpack_device__() == (DLPACK, 0)
    with pmd_kv.Fabric(accelerators=NAME) as other:
        assert other.register(again).address == far.memory.address
    if RUNTIME == "ascend":
        assert not hasattr(near.memory, "__cuda_array_interface__")


@runtime
@pytest.mark.skipif(RUNTIME == "ascend", reason="Ascend has no such interface")
def test_arrays_are_registered_by_their_interface(device, pair):
    here, there, peer = pair
    near, far = Interface(allocated(device, bytes_of(4))), Interface(device.allocate(SIZE))
    segments = [here.register(near), there.register(far)]
    here.write(peer, [(segments[0].address, segments[1].address, SIZE)]).wait(PATIENCE)
    assert far.memory.tobytes() == bytes_of(4).tobytes()
    address = near.memory.address
    assert near.__cuda_array_interface__["data"] == (address, False)
    with_gaps = Interface(near.memory, shape=(100, 10), strides=(20, 1))
    for wrong, why in [
        (with_gaps, "gaps"),
        (Interface(near.memory, mask=near), "mask"),
        (Interface(near.memory, data=(address, True)), "read-only"),
    ]:
        with pytest.raises(BufferError, match=why):
            here.register(wrong)
    dense = Interface(near.memory, shape=(100, 10), strides=(40, 4), typestr="<f4")
    assert here.register(dense).nbytes == 4000


@runtime
def test_streams_are_numbered_as_the_array_api_does_it(device):
    memory = device.allocate(64)
    for stream in {"cuda": [None, 1, 2, -1], "rocm": [None, 0, -1], "ascend": [None, -1]}[RUNTIME]:
        assert "dltensor" in repr(memory.__dlpack__(stream=stream))
    for stream in {"cuda": [0, -2], "rocm": [1, 2, -2], "ascend": [-2]}[RUNTIME]:
        with pytest.raises(ValueError, match="no stream"):
            memory.__dlpack__(stream=stream)


@runtime
def test_what_is_not_the_devices_is_refused(device, pair):
    here = pair[0]
    host, memory, freed = np.zeros(64, np.uint8), device.allocate(64), device.allocate(64)
    other = pmd_kv.Device(NAME.split(":")[0] + ":1").allocate(64)
    refused = [
        ("NotDeviceMemory", Capsule(host.ctypes.data, 64)),
        ("Range", Capsule(memory.address, 1 << 30)),
        ("NotDeviceMemory", Capsule(freed.address, 64)),
        ("WrongDevice", Tensor(other)),
    ]
    del freed
    for kind, tensor in refused:
        with pytest.raises(pmd_kv.errors.DeviceError) as problem:
            here.register(tensor)
        assert problem.value.kind == kind, problem.value
    for unknown, why in [((4, 0), "no accelerator"), ((13, 0), "managed")]:
        with pytest.raises(BufferError, match=why):
            here.register(Foreign(unknown, host))
    with pytest.raises(pmd_kv.errors.AllocateError):
        device.allocate(1 << 60)


@runtime
@pytest.mark.skipif(RUNTIME != "cuda", reason="the stand-in of CUDA is asked for managed memory here")
def test_managed_memory_is_refused(device, pair):
    driver, address = ctypes.CDLL("libcuda.so.1"), ctypes.c_uint64()
    context = ctypes.c_void_p()
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    assert driver.cuCtxPushCurrent_v2(context) == 0
    assert driver.cuMemAllocManaged(ctypes.byref(address), ctypes.c_size_t(4096), 1) == 0
    with pytest.raises(pmd_kv.errors.DeviceError) as problem:
        pair[0].register(Plain(address.value, 4096))
    assert problem.value.kind == "Managed"
    assert driver.cuMemFree_v2(address) == 0
    assert driver.cuCtxPopCurrent_v2(ctypes.byref(context)) == 0
    assert driver.cuDevicePrimaryCtxRelease_v2(0) == 0


class Plain:
    """Memory by an address, through the array interface."""

    def __init__(self, address, size):
        self.__cuda_array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (address, False),
            "version": 3,
        }


class Capsule:
    """A tensor of bytes at any address of device 0. Nothing keeps them."""

    class Managed(ctypes.Structure):
        _fields_ = [
            ("data", ctypes.c_void_p),
            ("device_type", ctypes.c_int32),
            ("device_id", ctypes.c_int32),
            ("ndim", ctypes.c_int32),
            ("code", ctypes.c_uint8),
            ("bits", ctypes.c_uint8),
            ("lanes", ctypes.c_uint16),
            ("shape", ctypes.POINTER(ctypes.c_int64)),
            ("strides", ctypes.POINTER(ctypes.c_int64)),
            ("byte_offset", ctypes.c_uint64),
            ("context", ctypes.c_void_p),
            ("deleter", ctypes.c_void_p),
        ]

    def __init__(self, address, size):
        self.shape = (ctypes.c_int64 * 1)(size)
        self.managed = self.Managed(address, DLPACK, 0, 1, 1, 8, 1, self.shape, None, 0, None, None)

    def __dlpack_device__(self):
        return DLPACK, 0

    def __dlpack__(self, *, stream=None):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.managed), b"dltensor", None)


def in_thread(call, *arguments):
    results = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)), daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE)
        return results[0]

    return result


def test_caches_lie_in_memory_of_the_device(device):
    blocks, size = 8, 4096
    content = [bytes_of(seed, blocks * size) for seed in range(4)]
    with pmd_kv.Engine(name="prefill", listen="127.0.0.1:0", accelerators=device) as prefill:
        with pmd_kv.Engine(name="decode", accelerators=device) as decode:
            peer = decode.connect(prefill.address)
            source = prefill.register_cache("kv", [allocated(device, tensor) for tensor in content], blocks=blocks)
            tensors = [device.allocate(blocks * size) for _ in content]
            own = tensors if DLPACK is None else [Tensor(tensor) for tensor in tensors]
            target = decode.register_cache("kv", own, blocks=blocks)
            remote = decode.remote_cache(peer, "kv")
            order = list(reversed(range(blocks)))
            remote.pull(target, (list(range(blocks)), order)).post().wait(PATIENCE)
            for tensor, wanted in zip(tensors, content):
                assert tensor.tobytes() == wanted.reshape(blocks, size)[order].tobytes()
            assert target.tensor(1).address == tensors[1].address
            with pytest.raises(BufferError, match="DLPack"):
                memoryview(target.block(0, 0))
            mixed = [device.allocate(64), np.zeros(64, np.uint8)]
            with pytest.raises(pmd_kv.errors.DeviceError) as refused:
                decode.register_cache("mixed", mixed, blocks=1)
            assert refused.value.kind == "NotDeviceMemory"
            source.close()


@runtime
def test_kvtrans_sends_and_receives_tensors(device, named):
    content = bytes_of(5)
    with kvtrans_engine.Engine("lo", 1, 1, 0) as receiver, kvtrans_engine.Engine("lo", 1, 1, 0) as sender:
        ip_addr, port = receiver.listen_address.split(":")
        _, outgoing = sender.connect(ip_addr, int(port))
        incoming = receiver.accept()[3]
        source, target = Tensor(allocated(device, content)), Tensor(device.allocate(SIZE))
        done, from_here = sender.reg_kv(outgoing, source)
        assert done
        done, to_there = receiver.reg_kv(incoming, target)
        assert done
        received = in_thread(receiver.recv_kv, to_there, SIZE)
        assert sender.send_kv(from_here, source)
        assert received() == (True, content.tobytes())
        assert target.memory.tobytes() == content.tobytes()
        # The send had the tensor's owner wait for its streams, on one of ours.
        told = source.streams[1]
        assert told is None if RUNTIME == "ascend" else told > 2
        # More room than is registered, and memory of the host.
        received = in_thread(receiver.recv_kv, to_there, 2 * SIZE)
        assert sender.send_kv(from_here, content[::-1].copy())
        assert received() == (True, content[::-1].tobytes())
        assert target.memory.tobytes() == content[::-1].tobytes()
        if RUNTIME != "ascend":
            received = in_thread(receiver.recv_kv, to_there, SIZE)
            assert sender.send_kv(from_here, Interface(source.memory, stream=1 if RUNTIME == "cuda" else 0))
            assert received() == (True, content.tobytes())
        assert receiver.dereg_kv(to_there)


@runtime
def test_kvtrans_registers_addresses_of_devices(device, named, monkeypatch):
    monkeypatch.setenv("PMD_INTERFACE", "lo")
    content = bytes_of(6)
    source, target = allocated(device, content), device.allocate(SIZE)
    with kvtrans_engine.Endpoint(0, 1) as receiver, kvtrans_engine.Endpoint(1, 1) as sender:
        _, outgoing = sender.connect("127.0.0.1", 0)
        incoming = receiver.accept()[3]
        done, from_here = sender.reg_kv(source.address, SIZE)
        assert done
        done, to_there = receiver.reg_kv(target.address, SIZE)
        assert done
        received = in_thread(receiver.recv_kv, incoming, to_there, target.address, SIZE)
        assert sender.send_kv(outgoing, from_here, source.address, SIZE)
        assert received() == (True, SIZE)
        assert target.tobytes() == content.tobytes()


@runtime
def test_hixl_registers_memory_of_the_device(device, named):
    content = bytes_of(7)
    far, near = allocated(device, content), np.zeros(SIZE, np.uint8)
    server, client, name = hixl.Hixl(), hixl.Hixl(), f"127.0.0.1:{free_ports(1)}"
    try:
        assert server.initialize(name) == hixl.SUCCESS
        assert client.initialize("127.0.0.1", {}) == hixl.SUCCESS
        code, _ = server.register_mem(hixl.MemDesc(far.address, SIZE), hixl.MEM_DEVICE)
        assert code == hixl.SUCCESS
        code, _ = client.register_mem(hixl.MemDesc(near.ctypes.data, SIZE), hixl.MEM_HOST)
        assert code == hixl.SUCCESS
        code, _ = client.register_mem(hixl.MemDesc(near.ctypes.data, SIZE), hixl.MEM_DEVICE)
        assert code == hixl.PARAM_INVALID
        assert client.connect(name, 20_000) == hixl.SUCCESS
        piece = hixl.TransferOpDesc(near.ctypes.data, far.address, SIZE)
        assert client.transfer_sync(name, hixl.READ, [piece], 20_000) == hixl.SUCCESS
        assert np.array_equal(near, content)
        near[:] = 9
        assert client.transfer_sync(name, hixl.WRITE, [piece], 20_000) == hixl.SUCCESS
        assert far.tobytes() == near.tobytes()
    finally:
        client.finalize()
        server.finalize()


def initialised(role, cluster_id, listen=None):
    config = LLMConfig()
    config.device_id = 0
    config.enable_cache_manager = True
    config.enable_remote_cache_accessible = True
    config.sync_kv_timeout = int(PATIENCE * 1000)
    if listen:
        config.listen_ip_info = listen
    datadist = LLMDataDist(role, cluster_id)
    datadist.init(config.generate_options())
    return datadist


@runtime
def test_llm_datadist_keeps_caches_on_the_device(device, named):
    tensors, port = 4, free_ports(1)
    prompt = initialised(LLMRole.PROMPT, 0, f"127.0.0.1:{port}")
    decoder = initialised(LLMRole.DECODER, 1)
    try:
        rows = np.arange(8 * 16, dtype=np.int32)
        theirs = [allocated(device, rows) for _ in range(tensors)]
        ours = [allocated(device, np.zeros_like(rows)) for _ in range(tensors)]
        desc = CacheDesc(tensors, [8, 16], DataType.DT_INT32, Placement.DEVICE)
        prompt.cache_manager.register_blocks_cache(desc, [tensor.address for tensor in theirs], BlocksCacheKey(0))
        cache = decoder.cache_manager.register_blocks_cache(desc, [tensor.address for tensor in ours])
        cluster = LLMClusterInfo()
        cluster.remote_cluster_id = 0
        cluster.append_remote_ip_info("127.0.0.1", port)
        status, _ = decoder.link_clusters([cluster], 20_000)
        assert status == LLMStatusCode.LLM_SUCCESS
        decoder.cache_manager.pull_blocks(BlocksCacheKey(0), cache, [1, 2, 3], [3, 2, 1])
        found = np.frombuffer(ours[3].tobytes(), np.int32).reshape(8, 16)
        wanted = np.zeros((8, 16), np.int32)
        wanted[[3, 2, 1]] = rows.reshape(8, 16)[[1, 2, 3]]
        assert np.array_equal(found, wanted)
        with pytest.raises(LLMException):
            decoder.cache_manager.register_blocks_cache(desc, [rows.ctypes.data] * tensors)
        decoder.unlink_clusters([cluster], 20_000)
    finally:
        decoder.finalize()
        prompt.finalize()


@runtime
def test_nothing_is_left_on_the_device():
    """The stand-in counts what is alive."""
    names = {"cuda": "libcuda.so.1", "rocm": "libamdhip64.so.7", "ascend": "libascendcl.so"}
    counted = getattr(ctypes.CDLL(names[RUNTIME]), "fake_device_counts", None)
    if counted is None:
        pytest.skip("not a stand-in")
    gc.collect()
    counts = (ctypes.c_uint64 * 9)()
    counted(counts)
    allocations, imported, misuses = counts[0], counts[4], counts[8]
    assert (allocations, imported, misuses) == (0, 0, 0)
