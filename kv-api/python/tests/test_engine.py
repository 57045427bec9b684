import gc
import threading
import weakref

import numpy as np
import pytest

import pmd_kv
from conftest import PATIENCE
from pmd_kv import errors

SHAPE = {"layers": 2, "tensors_per_layer": 2, "block_bytes": 256}


def arrays(blocks, first=0):
    """One array for each tensor; every byte of block b of tensor t is first + 16 t + b."""
    blocks_of = lambda tensor: [np.full(256, first + 16 * tensor + block, np.uint8) for block in range(blocks)]
    return [np.concatenate(blocks_of(tensor)) for tensor in range(4)]


def test_blocks_of_numpy_arrays_are_pushed_and_notified(pair):
    prefill, decode, peer = pair
    room = decode.allocate_cache("room", blocks=8, **SHAPE)
    computed = prefill.register_cache("computed", arrays(3, first=1), blocks=3)
    remote = prefill.remote_cache(peer, "room")
    assert (remote.layers, remote.tensors_per_layer, remote.blocks, remote.block_bytes) == (2, 2, 8, 256)
    for layer in range(2):
        push = remote.push(computed, ([0, 1, 2], [7, 2, 5]), layers=(layer, layer + 1))
        assert (push.blocks, push.nbytes) == (6, 6 * 256)
        transfer = push.post(bytes([layer]), timeout=PATIENCE)
        assert transfer.wait(PATIENCE) == 6 * 256
        sender, message = decode.wait_notification(PATIENCE)
        assert (sender.name, message) == ("prefill", bytes([layer]))
    for tensor in range(4):
        found = np.asarray(room.tensor(tensor))
        wanted = np.zeros((8, 256), np.uint8)
        for source, destination in [(0, 7), (1, 2), (2, 5)]:
            wanted[destination] = 1 + 16 * tensor + source
        assert np.array_equal(found, wanted)


def test_whole_caches_are_pulled_into_numpy_arrays(pair):
    prefill, decode, peer = pair
    source, destination = arrays(4), [np.zeros(4 * 256, np.uint8) for _ in range(4)]
    there = decode.register_cache("there", source, blocks=4)
    here = prefill.register_cache("here", destination, blocks=4)
    assert prefill.remote_cache(peer, "there").pull(here).post().wait(PATIENCE) == 4 * 4 * 256
    assert all(np.array_equal(one, other) for one, other in zip(source, destination))
    assert (there.id, there.name, there.blocks, there.block_bytes) == (1, "there", 4, 256)
    assert bytes(here.block(3, 2)) == bytes([16 * 3 + 2]) * 256


@pytest.mark.parametrize("kind", [list, tuple, "<u4", "<i4", "<u8", "<i8"])
def test_block_tables_come_as_lists_and_arrays(pair, kind):
    prefill, decode, peer = pair
    table = kind([3, 1]) if callable(kind) else np.array([3, 1], kind)
    there = decode.register_cache("there", arrays(4), blocks=4)
    with there, prefill.allocate_cache("here", blocks=4, **SHAPE) as here:
        pull = prefill.remote_cache(peer, "there").pull(here, (table, np.flip(table).copy()))
        assert pull.post().wait(PATIENCE) == 2 * 4 * 256
        assert [bytes(here.block(2, block))[0] for block in range(4)] == [0, 32 + 3, 0, 32 + 1]


def test_bad_block_tables_are_refused_and_nothing_moves(pair):
    prefill, decode, peer = pair
    here = prefill.allocate_cache("here", blocks=4, **SHAPE)
    room = decode.allocate_cache("room", blocks=4, **SHAPE)
    remote = prefill.remote_cache(peer, "room")
    for source, destination, kind in [
        ([0], [4], "BlockRange"),
        ([9], [0], "BlockRange"),
        ([0, 1], [2, 2], "DuplicateDestination"),
        ([0, 1], [2], "BlockCounts"),
    ]:
        with pytest.raises(errors.PlanError) as caught:
            remote.push(here, (source, destination))
        assert caught.value.kind == kind
    with pytest.raises(errors.PlanError) as caught:
        remote.push(here, layers=(1, 1))
    assert caught.value.kind == "Layers"
    for wrong in [[-1], [2**32], np.array([-1], np.int64), np.array([2**40], np.uint64)]:
        with pytest.raises(ValueError, match="is no block number"):
            remote.push(here, (wrong, [0]))
    with pytest.raises(TypeError):
        remote.push(here, (["one"], [0]))
    assert not np.asarray(room.tensor(0)).any()


def test_errors_carry_what_explains_them(pair):
    prefill, decode, peer = pair
    with pytest.raises(errors.NoSuchCache) as caught:
        prefill.remote_cache(peer, "nothing")
    assert (caught.value.name, caught.value.kind) == ("nothing", "NoSuchCache")
    assert isinstance(caught.value, LookupError)
    cache = decode.allocate_cache("one", blocks=1, **SHAPE)
    with pytest.raises(errors.NameTaken) as caught:
        decode.allocate_cache("one", blocks=1, **SHAPE)
    assert caught.value.name == "one"
    cache.close()
    with pytest.raises(errors.Closed):
        cache.tensor(0)
    with pytest.raises(errors.LayoutError):
        decode.allocate_cache("two", blocks=0, **SHAPE)
    with pytest.raises(errors.WaitTimeout) as caught:
        decode.wait_notification(0.01)
    assert (caught.value.what, caught.value.timeout) == ("a notification", 0.01)
    assert isinstance(caught.value, TimeoutError)
    with pytest.raises(ValueError, match="timeout of -1"):
        decode.wait_notification(-1)


def test_options_that_cannot_be_are_refused():
    for options in [{"transport": "tpc"}, {"idle": "nap"}, {"listen": "nowhere"}, {"key_file": "/nowhere/key"},
                    {"data_encryption": "perhaps"}]:
        with pytest.raises(errors.ConfigurationError) as caught:
            pmd_kv.Engine(**options)
        assert caught.value.value in options.values()
    with pytest.raises(TypeError, match="no option named"):
        pmd_kv.Engine(colour="red")
    with pytest.raises(errors.EndpointError):
        pmd_kv.Engine(transport="mlx5", device="no-such-device")


def test_a_closed_engine_says_so(pair):
    prefill, decode, _ = pair
    decode.close()
    decode.close()
    with pytest.raises(errors.Closed):
        decode.accept(0)
    peer, reason = prefill.wait_down(PATIENCE)
    assert peer.down_reason == reason == "the peer said goodbye"
    with pytest.raises(errors.PeerDown):
        prefill.remote_cache(peer, "anything")


def test_a_peer_is_the_same_to_both_lookups(pair):
    prefill, decode, peer = pair
    there = decode.accept(PATIENCE)
    assert (peer.name, there.name, peer.transport) == ("decode", "prefill", there.transport)
    one = decode.allocate_cache("one", blocks=1, **SHAPE)
    again = prefill.remote_cache(peer, one.name).peer
    assert again == peer and hash(again) == hash(peer) and len({again, peer}) == 1


def test_requests_run_python_and_exceptions_come_back():
    def answer(peer, body):
        if body == b"fail":
            raise RuntimeError("cannot do that")
        return peer.name.encode() + b":" + body

    with pmd_kv.Engine(listen="127.0.0.1:0", on_request=answer) as server, pmd_kv.Engine(name="client") as client:
        peer = client.connect(server.address)
        assert client.ask(peer, b"hello") == b"client:hello"
        with pytest.raises(errors.RequestRefused, match="cannot do that") as caught:
            client.ask(peer, b"fail")
        assert caught.value.code == 1
        assert client.ask(peer, b"again") == b"client:again"


def test_registered_arrays_live_as_long_as_the_cache(pair):
    prefill, decode, peer = pair
    owner = np.full(1024, 7, np.uint8)
    alive = weakref.ref(owner)
    cache = decode.register_cache("kept", [owner], blocks=4, tensors_per_layer=1)
    del owner
    gc.collect()
    assert alive() is not None
    here = prefill.register_cache("here", [np.zeros(1024, np.uint8)], blocks=4, tensors_per_layer=1)
    assert prefill.remote_cache(peer, "kept").pull(here).post().wait(PATIENCE) == 1024
    assert bytes(here.tensor(0)) == bytes([7]) * 1024
    view = np.asarray(cache.tensor(0))
    cache.close()
    gc.collect()
    assert alive() is not None and view[0, 0] == 7
    del view, cache
    gc.collect()
    # Gone for peers too.
    with pytest.raises(errors.NoSuchCache):
        prefill.remote_cache(peer, "kept")
    assert alive() is None


def test_arrays_that_cannot_be_registered(pair):
    _, decode, _ = pair
    for wrong, problem in [
        (b"read only", BufferError),
        (np.zeros((4, 4), np.uint8)[:, ::2], BufferError),
        (object(), TypeError),
        (17, TypeError),
    ]:
        with pytest.raises(problem):
            decode.register_cache("wrong", [wrong], blocks=1, tensors_per_layer=1)
    with pytest.raises(ValueError, match="tensor 1 has 8 bytes"):
        decode.register_cache("wrong", [bytearray(16), bytearray(8)], blocks=1)
    with pytest.raises(ValueError, match="not 3 equal blocks"):
        decode.register_cache("wrong", [bytearray(16)], blocks=3, tensors_per_layer=1)
    with pytest.raises(ValueError, match="without tensors"):
        decode.register_cache("wrong", [], blocks=3)
    with pytest.raises(errors.LayoutError):
        decode.register_cache("wrong", [bytearray(16)], blocks=1, tensors_per_layer=2)


def test_views_are_buffers(pair):
    _, decode, _ = pair
    cache = decode.allocate_cache("views", blocks=3, **SHAPE)
    view = memoryview(cache.tensor(1))
    assert (view.shape, view.strides, view.format, view.readonly) == ((3, 256), (256, 1), "B", False)
    half = np.asarray(cache.tensor(1)).view(np.float16)
    half[2, :] = 1.5
    assert bytes(cache.block(1, 2)) == np.full(128, 1.5, np.float16).tobytes()
    assert len(cache.tensor(0)) == 3 and len(cache.block(0, 0)) == 256
    with pytest.raises(IndexError):
        cache.tensor(4)
    with pytest.raises(IndexError):
        cache.block(0, 3)


def test_many_threads_use_one_engine_and_one_transfer(pair):
    prefill, decode, peer = pair
    there = decode.register_cache("there", arrays(4), blocks=4)
    remote = prefill.remote_cache(peer, there.name)
    moved, problems = [], []

    def work(number):
        try:
            with prefill.allocate_cache(f"here-{number}", blocks=4, **SHAPE) as here:
                transfer = remote.pull(here).post()
                waiters = [threading.Thread(target=lambda: moved.append(transfer.wait(PATIENCE))) for _ in range(2)]
                for waiter in waiters:
                    waiter.start()
                for waiter in waiters:
                    waiter.join(PATIENCE)
                assert bytes(here.block(3, 3)) == bytes([16 * 3 + 3]) * 256
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert problems == [] and moved == [4096] * 16


def test_nothing_stays_open(open_files):
    for _ in range(3):
        with pmd_kv.Engine(listen="127.0.0.1:0") as decode, pmd_kv.Engine() as prefill:
            there = decode.allocate_cache("there", blocks=4, **SHAPE)
            here = prefill.allocate_cache("here", blocks=4, **SHAPE)
            remote = prefill.remote_cache(prefill.connect(decode.address), "there")
            remote.pull(here).post().wait(PATIENCE)
            del here, there, remote
    gc.collect()
