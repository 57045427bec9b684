import gc
import weakref

import numpy as np
import pytest

import pmd_kv
from conftest import PATIENCE
from pmd_kv import errors


def test_descriptors_are_written_and_notified(fabrics):
    here, there, peer = fabrics
    source = np.arange(4096, dtype=np.uint8)
    target = np.zeros(4096, np.uint8)
    local, remote = here.register(source), there.register(target)
    assert (remote.address, remote.nbytes) == (target.ctypes.data, 4096)
    descriptors = [(local.address + 64 * row, remote.address + 4032 - 64 * row, 64) for row in range(64)]
    assert here.write(peer, descriptors, notify=b"written", timeout=PATIENCE).wait(PATIENCE) == 4096
    message = there.wait_message(PATIENCE)
    assert (message.bytes, message.immediate, message.peer.name) == (b"written", None, "here")
    assert np.array_equal(target.reshape(64, 64), source.reshape(64, 64)[::-1])


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_descriptors_come_as_arrays_and_plans_are_posted_again(fabrics, dtype):
    here, there, peer = fabrics
    local, remote = here.allocate(1 << 16), there.allocate(1 << 16)
    np.asarray(remote.view())[:] = np.arange(1 << 16, dtype=np.uint32).astype(np.uint8)
    rows = np.arange(16)
    table = np.stack([local.address + 4096 * rows, remote.address + 4096 * rows, np.full(16, 4096)], axis=1)
    plan = here.plan_read(peer, np.ascontiguousarray(table.astype(dtype)))
    assert plan.nbytes == 1 << 16 and plan.work_requests >= 1 and plan.peer == peer
    for number in range(3):
        np.asarray(local.view())[:] = 0
        assert plan.post(b"read", immediate=number, timeout=PATIENCE).wait(PATIENCE) == 1 << 16
        assert bytes(local.view()) == bytes(remote.view())
        assert there.wait_message(PATIENCE).immediate == number


def test_memory_that_is_not_registered_is_named(fabrics):
    here, there, peer = fabrics
    local, remote = here.register(bytearray(64)), there.register(bytearray(64))
    good = (local.address, remote.address, 64)
    for bad, kind in [((local.address, remote.address, 65), "Local"), ((local.address, 4096, 8), "Remote")]:
        with pytest.raises(errors.DescriptorError) as caught:
            here.write(peer, [good, bad])
        assert (caught.value.index, caught.value.length, caught.value.kind) == (1, bad[2], kind)
    with pytest.raises(ValueError, match="no triples"):
        here.write(peer, np.zeros(4, np.uint64))
    with pytest.raises(TypeError):
        here.write(peer, [("a", "b", "c")])
    with pytest.raises((OverflowError, TypeError, ValueError)):
        here.write(peer, [(-1, 0, 1)])


def test_memory_registered_after_connecting_is_found(fabrics):
    here, there, peer = fabrics
    local = here.register(bytearray(b"late" * 16))
    for _ in range(3):
        target = bytearray(64)
        remote = there.register(target)
        assert here.write(peer, [(local.address, remote.address, 64)]).wait(PATIENCE) == 64
        assert bytes(target) == b"late" * 16
        assert remote.close()


class Tensor:
    """What a tensor library shows: DLPack, and no buffer protocol."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device = array, device

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **_):
        return self.array.__dlpack__()


def test_tensors_come_by_dlpack_and_live_as_long_as_the_segment(fabrics):
    here, there, peer = fabrics
    array = np.arange(1024, dtype=np.float32).reshape(8, 2, 64)
    alive = weakref.ref(array)
    local = here.register(Tensor(array))
    assert (local.address, local.nbytes) == (array.ctypes.data, 4096)
    target = np.zeros((8, 2, 64), np.float32)
    remote = there.register(Tensor(target))
    assert here.write(peer, [(local.address, remote.address, 4096)]).wait(PATIENCE) == 4096
    assert np.array_equal(array, target)
    del array
    gc.collect()
    assert alive() is not None
    assert local.close()
    gc.collect()
    assert alive() is None


def test_tensors_that_cannot_be_registered(fabrics):
    here, _, _ = fabrics
    with pytest.raises(BufferError, match=r"device \(4, 0\)"):
        here.register(Tensor(np.zeros(4), device=(4, 0)))
    # CUDA's, without an accelerator that knows it.
    with pytest.raises(errors.RegisterError, match="kind Device"):
        here.register(Tensor(np.zeros(4), device=(2, 0)))
    with pytest.raises(BufferError, match="with gaps"):
        here.register(Tensor(np.zeros((4, 4))[:, ::2]))
    with pytest.raises(BufferError, match="with gaps"):
        here.register(Tensor(np.zeros((4, 4)).T))

    class Liar(Tensor):
        def __dlpack__(self, **_):
            return 17

    with pytest.raises(ValueError):
        here.register(Liar(np.zeros(4)))
    # Strides of dimensions of one element say nothing.
    assert here.register(Tensor(np.zeros((1, 8))[:, :8])).nbytes == 64


def test_a_view_keeps_its_segment(fabrics):
    here, there, peer = fabrics
    remote = there.allocate(4096)
    array = np.asarray(remote.view())
    address = remote.address
    assert not remote.close()
    local = here.register(bytearray(b"x" * 4096))
    assert here.write(peer, [(local.address, address, 4096)]).wait(PATIENCE) == 4096
    assert bytes(array) == b"x" * 4096
    del array
    gc.collect()
    with pytest.raises(errors.Error):
        here.write(peer, [(local.address, address, 4096)]).wait(PATIENCE)
    with pytest.raises(errors.Closed):
        remote.view()


def test_requests_and_peers():
    def answer(peer, kind, body):
        if kind == 9:
            raise KeyError("nine")
        return bytes([kind]) + body

    with pmd_kv.Fabric(listen="127.0.0.1:0", on_request=answer) as server, pmd_kv.Fabric() as client:
        peer = client.connect(server.address)
        assert client.ask(peer, 3, b"abc") == b"\x03abc"
        with pytest.raises(errors.RequestRefused, match="nine"):
            client.ask(peer, 9, b"")
        with pytest.raises(errors.RequestRefused):
            server.ask(server.accept(PATIENCE), 1, b"")
        client.close()
        _, reason = server.wait_down(PATIENCE)
        assert reason == "the peer said goodbye"
        with pytest.raises(errors.WaitTimeout):
            server.accept(0.01)
        with pytest.raises(errors.Closed):
            client.allocate(4096)
