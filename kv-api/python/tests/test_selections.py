"""What of a cache moves: tables, ranges, tokens and layers; how urgent it is, how long it takes, and what is counted."""

import numpy as np
import pytest

import pmd_kv
from conftest import PATIENCE
from pmd_kv import errors


def numbered(name, engine, blocks, **shape):
    """A cache whose block b of tensor t is full of 16 t + b."""
    cache = engine.allocate_cache(name, blocks=blocks, **shape)
    for tensor in range(cache.layers * cache.tensors_per_layer):
        for block in range(blocks):
            np.asarray(cache.block(tensor, block))[:] = 16 * tensor + block
    return cache


SHAPE = {"layers": 4, "tensors_per_layer": 1, "block_bytes": 64}


def first_bytes(cache, tensor):
    return [int(np.asarray(cache.block(tensor, block))[0]) for block in range(cache.blocks)]


def test_ranges_move_blocks_at_steps(pair):
    prefill, decode, peer = pair
    there = numbered("there", decode, 16, **SHAPE)
    here = prefill.allocate_cache("here", blocks=8, **SHAPE)
    remote = prefill.remote_cache(peer, there.name)
    pull = remote.pull(here, (range(1, 16, 4), range(0, 8, 2)))
    assert (pull.blocks, pull.nbytes) == (16, 16 * 64)
    assert pull.post().wait(PATIENCE) == 16 * 64
    assert first_bytes(here, 2) == [33, 0, 37, 0, 41, 0, 45, 0]
    # A range that falls is a table.
    assert remote.pull(here, (range(7, 5, -1), range(2))).post().wait(PATIENCE) == 8 * 64
    assert first_bytes(here, 0)[:2] == [7, 6]
    with pytest.raises(errors.PlanError):
        remote.pull(here, (range(0, 8), range(1, 9)))
    with pytest.raises(ValueError, match="no block number"):
        remote.pull(here, (range(-2, 2), range(4)))


def test_layers_go_to_layers_of_another_number(pair):
    prefill, decode, peer = pair
    there = numbered("there", decode, 2, **SHAPE)
    here = prefill.allocate_cache("here", blocks=2, **SHAPE)
    remote = prefill.remote_cache(peer, there.name)
    assert remote.pull(here, layers=(0, 2), to_layer=2).post().wait(PATIENCE) == 2 * 2 * 64
    assert [first_bytes(here, tensor) for tensor in range(4)] == [[0, 0], [0, 0], [0, 1], [16, 17]]
    with pytest.raises(errors.PlanError):
        remote.pull(here, layers=(0, 2), to_layer=3)


def test_tokens_move_between_blocks_of_other_sizes_and_ranks(pair):
    prefill, decode, peer = pair
    halves = [pmd_kv.TokenFormat(4, 2, 8, rank=rank, ranks=2) for rank in range(2)]
    whole = pmd_kv.TokenFormat(16, 2, 8, order="heads")
    assert (whole.tokens, whole.heads, whole.head_bytes, whole.block_bytes) == (16, (0, 2), 8, 256)
    assert (halves[1].heads, halves[1].block_bytes) == ((1, 2), 32) and halves[0] != halves[1]
    room = decode.allocate_cache("room", layers=1, tensors_per_layer=1, blocks=2, format=whole)
    remote = prefill.remote_cache(peer, "room")
    for rank, form in enumerate(halves):
        arrays = [np.repeat(np.arange(32, dtype=np.uint8) + 100 * rank, 8)]
        part = prefill.register_cache(f"rank-{rank}", arrays, blocks=8, tensors_per_layer=1, format=form)
        if rank == 0:
            assert remote.push(part, tokens=32).post().wait(PATIENCE) == 32 * 8
        else:
            # The last 30 of them, to where they belong, and then the first two.
            tables = np.arange(8), [0, 1]
            assert remote.push(part, tables, tokens=(2, 2, 30)).post().wait(PATIENCE) == 30 * 8
            assert remote.push(part, tables, tokens=(0, 0, 2)).post().wait(PATIENCE) == 2 * 8
    found = np.asarray(room.tensor(0)).reshape(2, 2, 16, 8)
    for head in range(2):
        wanted = np.repeat(np.arange(32, dtype=np.uint8) + 100 * head, 8).reshape(2, 16, 8)
        assert np.array_equal(found[:, head], wanted)
    with pytest.raises(errors.PlanError):
        remote.push(part, tokens=33)


def test_formats_that_cannot_be_are_refused(pair):
    _, decode, _ = pair
    with pytest.raises(errors.LayoutError):
        pmd_kv.TokenFormat(0, 2, 8)
    with pytest.raises(errors.LayoutError):
        pmd_kv.TokenFormat(4, 3, 8, ranks=2)
    with pytest.raises(ValueError, match="order"):
        pmd_kv.TokenFormat(4, 2, 8, order="dims")
    form = pmd_kv.TokenFormat(4, 2, 8)
    with pytest.raises(ValueError, match="block_bytes or a format"):
        decode.allocate_cache("none", layers=1, blocks=1)
    with pytest.raises(ValueError, match="65 bytes, and a format whose blocks have 64"):
        decode.allocate_cache("both", layers=1, blocks=1, block_bytes=65, format=form)


def test_transfers_are_estimated_counted_and_may_be_urgent(pair):
    prefill, decode, peer = pair
    there = numbered("there", decode, 4, **SHAPE)
    here = prefill.allocate_cache("here", blocks=4, **SHAPE)
    remote = prefill.remote_cache(peer, there.name)
    pull = remote.pull(here)
    seconds, measured = pull.estimate()
    assert seconds > 0 and not measured
    assert remote.estimate(pull.nbytes, pull.work_requests) == (seconds, False)
    assert pull.post(b"all", timeout=PATIENCE, priority="high").wait(PATIENCE) == pull.nbytes
    assert decode.wait_notification(PATIENCE)[1] == b"all"
    seconds, measured = pull.estimate()
    assert seconds > 0 and measured
    with pytest.raises(ValueError, match="priority"):
        pull.post(priority="urgent")
    metrics = prefill.metrics()
    assert metrics["caches"] == 1 and metrics["total"]["completed"] == 1
    assert (metrics["total"]["bytes"], metrics["total"]["work_requests"]) == (pull.nbytes, pull.work_requests)
    [one] = metrics["peers"]
    assert (one["name"], one["transport"], one["incarnation"]) == ("decode", peer.transport, peer.incarnation)
    assert one["counters"] == metrics["total"] and one["link"]["observations"] == 1
    assert decode.metrics()["total"]["notifications"] == 1
    assert "pmd_kv_bytes_total 1024\n" in prefill.prometheus()


def test_views_are_tensors_to_dlpack(pair):
    _, decode, _ = pair
    cache = numbered("kv", decode, 4, **SHAPE)
    tensor = np.from_dlpack(cache.tensor(1))
    assert (tensor.shape, tensor.dtype) == ((4, 64), np.uint8) and tensor[3, 63] == 19
    block = np.from_dlpack(cache.block(2, 1))
    # The same memory, which stays for as long as the array does.
    np.asarray(cache.block(2, 1))[5] = 77
    assert block[5] == 77 and block[6] == 33
    assert cache.tensor(0).__dlpack_device__() == (1, 0)
    cache.close()
    assert block.sum() == 33 * 63 + 77
    view = decode.allocate_cache("other", blocks=1, **SHAPE).tensor(0)
    with pytest.raises(BufferError, match="streams"):
        view.__dlpack__(stream=1)
