"""Layers that move one by one while later ones are computed, and which blocks are not valid when something failed."""

import asyncio
import gc
import threading

import numpy as np
import pytest

from conftest import PATIENCE
from pmd_kv import errors

SHAPE = {"layers": 4, "tensors_per_layer": 1, "blocks": 8, "block_bytes": 4096}
BLOCKS = [0, 1, 2], [7, 3, 4]
TAG, BYTES = 77, 3 * 4096


class Sides:
    """A sender with something computed, a receiver with room for it."""

    def __init__(self, prefill, decode, peer):
        self.prefill, self.decode, self.back = prefill, decode, decode.accept(PATIENCE)
        self.room = decode.allocate_cache("room", **SHAPE)
        self.computed = prefill.allocate_cache("computed", **SHAPE)
        for layer in range(4):
            np.asarray(self.computed.tensor(layer))[:] = layer + 1
        self.remote = prefill.remote_cache(peer, "room")

    def stream(self, **options):
        return self.remote.stream(self.computed, BLOCKS, tag=TAG, **options)

    def expect(self):
        return self.decode.expect_layers(TAG, [self.back])

    def landed(self, layer):
        """Whether the blocks of a layer are there, and no others."""
        room = np.asarray(self.room.tensor(layer))
        return [int(block[0]) for block in room] == [0, 0, 0, layer + 1, layer + 1, 0, 0, layer + 1]


@pytest.fixture
def sides(pair):
    return Sides(*pair)


def test_layers_land_in_the_order_of_their_release(sides):
    with sides.expect() as arrivals, sides.stream(timeout=PATIENCE, priority="high") as stream:
        assert (stream.layers, arrivals.tag) == ((0, 4), TAG)
        for layer in [2, 0, 3, 1]:
            assert not arrivals.is_landed(layer)
            with pytest.raises(errors.WaitTimeout):
                arrivals.wait(layer, 0)
            stream.release(layer)
            arrivals.wait(layer, PATIENCE)
            assert arrivals.is_landed(layer) and sides.landed(layer)
            sent = stream.sent(layer)
            assert sent.wait(PATIENCE) == BYTES and sent.done()
        assert stream.wait(PATIENCE) == 4 * BYTES


def test_tasks_send_and_receive_layers(sides):
    async def receive(arrivals):
        return [(await arrivals.landing(layer), sides.landed(layer)) for layer in range(4)]

    async def send(stream):
        for layer in range(4):
            stream.release(layer)
            assert await stream.sent(layer) == BYTES
        return await stream

    async def both():
        with sides.expect() as arrivals, sides.stream() as stream:
            return await asyncio.wait_for(asyncio.gather(receive(arrivals), send(stream)), PATIENCE)

    assert asyncio.run(both()) == [[(layer, True) for layer in range(4)], 4 * BYTES]


def test_tasks_that_give_up_change_nothing(sides):
    async def give_up(waited):
        task = asyncio.ensure_future(waited)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def wait(landing):
        return await landing

    with sides.expect() as arrivals, sides.stream() as stream:
        landing = arrivals.landing(1)
        for waited in [landing, stream.sent(1), stream]:
            asyncio.run(give_up(wait(waited)))
        stream.release(1)
        assert landing.wait(PATIENCE) == 1 and stream.sent(1).wait(PATIENCE) == BYTES


def test_a_function_computes_while_layers_are_sent(sides):
    ready = threading.Semaphore(0)

    def computed(layer):
        assert ready.acquire(timeout=PATIENCE)
        np.asarray(sides.computed.tensor(layer))[:] = layer + 1

    with sides.expect() as arrivals, sides.stream() as stream:
        stream.drive(computed)
        for layer in range(4):
            ready.release()
            arrivals.wait(layer, PATIENCE)
            assert sides.landed(layer)
            assert not any(arrivals.is_landed(later) for later in range(layer + 1, 4))
        assert stream.wait(PATIENCE) == 4 * BYTES


@pytest.mark.parametrize("raises", [True, False])
def test_a_function_that_fails_ends_the_stream_and_the_receiver_hears_of_it(sides, raises):
    def computed(layer):
        if layer == 2 and raises:
            raise RuntimeError("no power")
        return layer < 2

    with sides.expect() as arrivals, sides.stream() as stream:
        stream.drive(computed)
        with pytest.raises(errors.LayerNotSent) as caught:
            stream.wait(PATIENCE)
        assert (caught.value.layer, str(caught.value.__cause__)) == (2, "no power" if raises else "None")
        arrivals.wait(1, PATIENCE)
        for layer in [2, 3]:
            with pytest.raises(errors.LayerLost) as caught:
                arrivals.wait(layer, PATIENCE)
            lost = caught.value
            assert (lost.layer, lost.peer, lost.reason) == (layer, sides.back, "never posted")
            assert lost.blocks == [(range(layer, layer + 1), range(3, 5)), (range(layer, layer + 1), range(7, 8))]


def test_a_block_of_code_that_raises_cancels_the_stream(sides):
    with sides.expect() as arrivals:
        with pytest.raises(KeyError):
            with sides.stream() as stream:
                stream.release(0)
                raise KeyError
        with pytest.raises(errors.LayerLost):
            arrivals.wait(3, PATIENCE)
        with pytest.raises(errors.Closed):
            stream.release(1)
        # Closed without an error: what was released goes on.
        sides.stream(layers=(1, 2)).close()
    with sides.expect() as arrivals:
        with sides.stream(layers=(0, 2), to_layer=2) as stream:
            stream.release(1)
        arrivals.wait(3, PATIENCE)
        with pytest.raises(errors.LayerLost):
            arrivals.wait(2, PATIENCE)


def test_cancelled_layers_are_not_sent(sides):
    with sides.stream() as stream:
        stream.cancel()
        stream.cancel()
        for layer in range(4):
            with pytest.raises(errors.LayerNotSent):
                stream.sent(layer).wait(PATIENCE)
            with pytest.raises(errors.LayerNotSent):
                stream.release(layer)
    assert not np.asarray(sides.room.tensor(0)).any()


def test_overdue_layers_fail_on_both_sides(sides):
    with sides.expect() as arrivals, sides.stream(timeout=0) as stream:
        stream.release(1)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            stream.sent(1).wait(PATIENCE)
        assert caught.value.layer == 1
        with pytest.raises(errors.LayerLost) as caught:
            arrivals.wait(1, PATIENCE)
        assert caught.value.blocks == [(range(1, 2), range(3, 5)), (range(1, 2), range(7, 8))]


def test_what_cannot_be_is_refused(sides):
    with sides.expect() as arrivals, sides.stream() as stream:
        with pytest.raises(errors.TagTaken) as caught:
            sides.expect()
        assert caught.value.tag == TAG
        with pytest.raises(errors.LayerError) as caught:
            stream.release(4)
        assert (caught.value.layer, caught.value.kind) == (4, "NoSuchLayer")
        stream.release(0)
        with pytest.raises(errors.LayerError) as caught:
            stream.release(0)
        assert caught.value.kind == "AlreadyReleased" and isinstance(caught.value, ValueError)
        with pytest.raises(errors.LayerError):
            stream.sent(9).wait(PATIENCE)
        with pytest.raises(TypeError):
            stream.drive()
    with pytest.raises(errors.Closed):
        arrivals.wait(0, 0)
    with pytest.raises(errors.PlanError):
        sides.stream(layers=(2, 2))
    with pytest.raises(ValueError, match="priority"):
        sides.stream(priority="urgent")


def test_layers_of_a_sender_that_went_are_told(sides):
    with sides.expect() as arrivals:
        sides.prefill.close()
        with pytest.raises(errors.PeerDown) as caught:
            arrivals.wait(0, PATIENCE)
        told = caught.value
        assert (told.layer, told.peer, told.reason) == (0, sides.back, "the peer said goodbye")


def test_waiting_keeps_nothing(sides):
    arrivals, stream = sides.expect(), sides.stream()
    waited = [arrivals.landing(layer) for layer in range(4)] + [stream.sent(layer) for layer in range(4)]
    del waited
    gc.collect()
    arrivals.close()
    sides.expect().close()
    stream.close()


def test_failed_transfers_name_their_blocks(sides):
    pull = sides.remote.pull(sides.computed, ([1, 2, 5], [4, 5, 0]), layers=(1, 3))
    transfer = pull.post(b"done", timeout=0)
    with pytest.raises(errors.DeadlineExceeded) as caught:
        transfer.wait(PATIENCE)
    invalid = [(range(1, 3), range(0, 1)), (range(1, 3), range(4, 6))]
    assert caught.value.blocks == transfer.unproven() == invalid
    failure = sides.decode.wait_failure(PATIENCE)
    assert (failure.peer, failure.transfer, failure.cache) == (sides.back, transfer.id, "room")
    assert (failure.direction, failure.reason) == ("pull", "not done by its deadline")
    assert failure.blocks == [(range(1, 3), range(1, 3)), (range(1, 3), range(5, 6))]
    assert failure.notification == b"done" and "deadline" in failure.detail and "room" in repr(failure)
    again = pull.post()
    assert again.wait(PATIENCE) == 6 * 4096 and again.unproven() == [] and again.id > transfer.id
    with pytest.raises(errors.WaitTimeout):
        sides.decode.wait_failure(0)


def test_memory_has_no_blocks(fabrics):
    here, there, peer = fabrics
    source, target = np.ones(64, np.uint8), np.zeros(64, np.uint8)
    with there.register(source), here.register(target):
        transfer = here.read(peer, [(target.ctypes.data, source.ctypes.data, 64)])
        assert transfer.wait(PATIENCE) == 64 and target.all()
        assert transfer.unproven() is None and transfer.id is None
        late = here.read(peer, [(target.ctypes.data, source.ctypes.data, 64)], timeout=0)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            late.wait(PATIENCE)
        assert caught.value.blocks is None
