import asyncio
import gc

import numpy as np
import pytest

import pmd_kv
from conftest import PATIENCE
from pmd_kv import errors

SHAPE = {"layers": 4, "tensors_per_layer": 1, "blocks": 64, "block_bytes": 4096}


@pytest.fixture
def planned(pair):
    prefill, decode, peer = pair
    room = decode.allocate_cache("room", **SHAPE)
    cache = prefill.allocate_cache("computed", **SHAPE)
    for layer in range(4):
        np.asarray(cache.tensor(layer))[:] = layer + 1
    remote = prefill.remote_cache(peer, "room")
    layers = [remote.push(cache, layers=(layer, layer + 1)) for layer in range(4)]
    return layers, room, decode


def test_transfers_are_awaited_together(planned):
    layers, room, _ = planned

    async def push_all():
        return await asyncio.wait_for(asyncio.gather(*(layer.post() for layer in layers)), PATIENCE)

    for _ in range(2):
        assert asyncio.run(push_all()) == [64 * 4096] * 4
    assert [int(np.asarray(room.tensor(layer)).min()) for layer in range(4)] == [1, 2, 3, 4]


def test_tasks_of_many_loops_await_at_once(planned):
    layers, room, _ = planned

    async def one(layer):
        return await layer.post()

    async def many():
        return await asyncio.gather(*(asyncio.to_thread(asyncio.run, one(layer)) for layer in layers * 4))

    assert asyncio.run(asyncio.wait_for(many(), PATIENCE)) == [64 * 4096] * 16


def test_a_cancelled_task_leaves_a_quiet_transfer(planned):
    layers, _, _ = planned

    async def cancelled():
        transfer = layers[0].post()
        task = asyncio.ensure_future(asyncio.wait_for(transfer, PATIENCE))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        return await asyncio.to_thread(transfer.cancel)

    assert asyncio.run(cancelled()) in ("cancelled", "completed")


def test_a_failed_transfer_raises_in_the_task(planned, pair):
    layers, _, decode = planned
    decode.close()
    # Until the goodbye is here the memory is, too.
    pair[0].wait_down(PATIENCE)

    async def fail():
        return await layers[0].post()

    with pytest.raises(errors.Error):
        asyncio.run(fail())


def test_cancel_says_what_became_of_it(planned):
    layers, _, _ = planned
    transfer = layers[0].post()
    assert transfer.wait(PATIENCE) == 64 * 4096
    assert transfer.cancel() == "completed"
    assert transfer.poll() == 64 * 4096 and transfer.done()
    transfer = layers[1].post()
    transfer.request_cancel()
    assert transfer.cancel() in ("cancelled", "completed")
    assert transfer.done()


def test_a_deadline_that_has_passed_raises(planned):
    layers, _, _ = planned
    with pytest.raises(errors.DeadlineExceeded) as caught:
        layers[0].post(timeout=0).wait(PATIENCE)
    assert isinstance(caught.value, TimeoutError)


def test_dropped_transfers_go_on_and_keep_their_memory(planned):
    layers, room, decode = planned
    for number, layer in enumerate(layers):
        layer.post(bytes([number]))
    del layers, layer
    gc.collect()
    told = {decode.wait_notification(PATIENCE)[1] for _ in range(4)}
    assert told == {bytes([number]) for number in range(4)}
    assert [int(np.asarray(room.tensor(layer)).min()) for layer in range(4)] == [1, 2, 3, 4]
