"""Workers and servers in one process."""

import asyncio

import numpy as np
import pytest

import pmd_af
from conftest import PATIENCE, cluster
from pmd_af import errors


def answer(server, *arrays, **gather):
    """Answers one batch, each request with the arrays."""
    for request in server.get_batch(timeout=PATIENCE, **gather):
        request.respond(list(arrays))


def test_what_is_pushed_arrives_and_the_answer_comes_back(pair):
    worker, server = pair
    for size in (1, 100, 100_000):
        pushed = np.arange(size, dtype=np.float32).reshape(1, size)
        pulled = np.zeros((2, size), np.float32)
        pending = worker.push_pull([(7, pushed)], [(8, pulled)], tag=size, timeout=PATIENCE)
        (request,) = server.get_batch(timeout=PATIENCE)
        assert (request.worker, request.tag, request.keys) == (0, size, [7])
        assert request.pulls == [(8, pulled.nbytes, False)]
        (tensor,) = request.tensors
        assert (tensor.shape, tensor.dtype) == ((1, size), "float32")
        given = np.stack([np.asarray(tensor)[0], np.asarray(tensor)[0] * 2])
        response = request.respond([given])
        assert pending.wait(PATIENCE) == [pulled.nbytes]
        response.wait(PATIENCE)
        assert (pulled == np.stack([pushed[0], pushed[0] * 2])).all()
        assert response.done() and request.answered and pending.done() and pending.poll() == [pulled.nbytes]


def test_every_server_gets_the_pushes_and_its_share_of_the_pulls():
    with cluster(workers=2, servers=2) as (servers, workers):
        pulled = [[np.zeros(1000, np.int32) for _ in range(4)] for _ in workers]
        pending = [
            worker.push_pull([(1, np.full(1000, rank + 1, np.int32))], list(zip((10, 11, 10, 11), pulled[rank])))
            for rank, worker in enumerate(workers)
        ]
        for number, server in enumerate(servers):
            batch = server.get_batch("all", PATIENCE)
            assert [request.worker for request in batch] == [0, 1]
            for request in batch:
                pushed = np.asarray(request.tensors[0])
                request.respond([pushed + 100 * number, pushed + 100 * number + 10])
        for rank, one in enumerate(pending):
            assert one.wait(PATIENCE) == [4000] * 4
            assert one.parts() == [(0, "done"), (1, "done")]
            assert [set(array) for array in pulled[rank]] == [{rank + 1 + offset} for offset in (0, 10, 100, 110)]


def test_each_element_type_keeps_its_name_and_its_bits(pair):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy's own types are tested below")
    worker, server = pair
    for name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):
        array = np.arange(-8, 8).astype(getattr(ml_dtypes, name)).reshape(4, 4)
        pulled = np.zeros_like(array)
        pending = worker.push_pull([(1, array)], [(2, pulled)])
        (request,) = server.get_batch(timeout=PATIENCE)
        (tensor,) = request.tensors
        assert (tensor.dtype, tensor.shape) == (name, (4, 4))
        assert (tensor.numpy() == array).all()
        with pytest.raises(BufferError, match="bits"):
            memoryview(tensor)
        request.respond([tensor])
        pending.wait(PATIENCE)
        assert (pulled.view(np.uint8) == array.view(np.uint8)).all()


@pytest.mark.parametrize(
    "name",
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128".split(),
)
def test_the_types_of_numpy(pair, name):
    worker, server = pair
    array = np.array([[0, 1, 1], [1, 0, 1]], name)
    pulled = np.zeros_like(array)
    pending = worker.push_pull({1: array}, {2: pulled})
    (request,) = server.get_batch(timeout=PATIENCE)
    arrived = request.tensors[0].numpy()
    assert arrived.dtype == array.dtype and (arrived == array).all()
    assert (np.from_dlpack(request.tensors[0]) == array).all()
    request.respond([arrived])
    pending.wait(PATIENCE)
    assert (pulled == array).all()


def test_shapes_without_elements_without_dimensions_and_of_slices(pair):
    worker, server = pair
    whole = np.arange(64, dtype=np.int64).reshape(16, 4)
    for array in (np.zeros((0, 7168), np.float16), np.array(5.0), whole[3:7], whole[:0]):
        pulled = np.zeros_like(array)
        pending = worker.push_pull([(1, array)], [(2, pulled)])
        (request,) = server.get_batch(timeout=PATIENCE)
        assert request.tensors[0].shape == array.shape
        request.respond([request.tensors[0]])
        assert pending.wait(PATIENCE) == [array.nbytes]
        assert (pulled == array).all()
    with pytest.raises(BufferError, match="contiguous"):
        worker.push_pull([(1, whole[:, :2])])


class Strided:
    """A tensor with gaps, which shows itself by DLPack only."""

    dtype, shape = "float32", (3, 2)
    array = np.zeros((3, 4), np.float32)[:, :2]

    def __dlpack__(self):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def view(self, _):
        return self


#: What `Strided` takes for the type of bytes.
uint8 = "uint8"


def test_tensors_with_gaps_or_elsewhere_are_refused(pair):
    worker, _ = pair
    with pytest.raises(BufferError, match="gaps"):
        worker.push_pull([(1, Strided())])

    class Elsewhere(Strided):
        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(BufferError, match="device"):
        worker.push_pull([(1, Elsewhere())])


def test_rows_are_routed_without_copying_them_together(pair):
    worker, server = pair
    activations = np.arange(60, dtype=np.float32).reshape(10, 6)
    pending = worker.push_pull(rows=[(0, 1, activations, [7, 2, 2])])
    (request,) = server.get_batch(timeout=PATIENCE)
    assert (request.tensors[0].numpy() == activations[[7, 2, 2]]).all()
    request.respond()
    assert pending.wait(PATIENCE) == []
    with pytest.raises(errors.TensorError):
        worker.push_pull(rows=[(0, 1, activations, [10])])


def test_less_is_taken_where_it_was_allowed(pair):
    worker, server = pair
    pulled = np.zeros((8, 1000), np.float32)
    pending = worker.push_pull([(1, np.ones(4, np.float32))], [(2, pulled)], up_to=True)
    (request,) = server.get_batch(timeout=PATIENCE)
    assert request.pulls == [(2, 32000, True)]
    request.respond([np.full((3, 1000), 9, np.float32)])
    assert pending.wait(PATIENCE) == [12000]
    assert (pulled[:3] == 9).all() and (pulled[3:] == 0).all()


def test_a_response_of_another_size_is_an_error_at_both_ends(pair):
    worker, server = pair
    guarded = np.zeros(3000, np.float32)
    pending = worker.push_pull([(1, np.ones(4))], [(2, guarded[1000:2000])])
    (request,) = server.get_batch(timeout=PATIENCE)
    with pytest.raises(errors.ResponseError) as raised:
        request.respond([np.ones(1001, np.float32)])
    assert raised.value.worker == 0 and raised.value.kind == "Size"
    with pytest.raises(errors.Refused) as refused:
        pending.wait(PATIENCE)
    assert refused.value.server == 0 and (guarded == 0).all()
    with pytest.raises(errors.ResponseError, match="answered before"):
        request.respond([guarded])


def test_what_is_not_answered_is_refused(pair):
    worker, server = pair
    pending = [worker.push_pull([(key, np.ones(4))], [(2, np.ones(4))]) for key in (1, 2)]
    (dropped,) = server.get_batch(timeout=PATIENCE)
    del dropped
    (request,) = server.get_batch(timeout=PATIENCE)
    request.refuse(17)
    for one in pending:
        with pytest.raises(errors.Refused):
            one.wait(PATIENCE)


def test_requests_that_do_not_fit_together_say_why(pair):
    worker, _ = pair
    array = np.ones(4)
    with pytest.raises(errors.PushPullError) as unknown:
        worker.push_pull([(1, array, 5)])
    assert (unknown.value.kind, unknown.value.server) == ("UnknownServer", 5)
    with pytest.raises(BufferError, match="read-only"):
        worker.push_pull([], [(1, b"constant")])
    with pytest.raises(TypeError, match="no memory"):
        worker.push_pull([(1, 5)])
    with pytest.raises(TypeError, match="no option"):
        worker.push_pull([(1, array)], colour="red")
    with pytest.raises(ValueError, match="part"):
        worker.push_pull([(1, array)], part="first")
    worker.declare(0, 3, 16)
    with pytest.raises(errors.CapacityError) as capacity:
        worker.push_pull([(3, array)])
    error = capacity.value
    assert (error.server, error.key, error.given, error.capacity) == (0, 3, 32, 16)


def test_too_much_in_flight_says_so_or_waits(pair):
    worker, server = pair
    big = np.ones(10_000)
    pending = [worker.push_pull([(1, big)]) for _ in range(2)]
    with pytest.raises(errors.Full):
        worker.try_push_pull([(1, big)])
    with pytest.raises(errors.WaitTimeout):
        worker.push_pull([(1, big)], timeout=0.05)
    answer(server)
    pending[0].wait(PATIENCE)
    pending.append(worker.try_push_pull([(1, big)]))
    answer(server)
    answer(server)
    assert pmd_af.wait_any(pending, PATIENCE) == 0
    assert [one.wait(PATIENCE) for one in pending] == [[], [], []]


def test_a_wait_that_is_over_leaves_it_running_and_a_cancel_makes_it_quiet(pair):
    worker, server = pair
    pulled = np.zeros(1000)
    pending = worker.push_pull([(1, np.ones(4))], [(2, pulled)])
    with pytest.raises(errors.WaitTimeout) as timeout:
        pending.wait(0.01)
    assert isinstance(timeout.value, TimeoutError) and not pending.done() and pending.poll() is None
    with pytest.raises(errors.WaitTimeout):
        pmd_af.wait_any([pending], 0.01)
    (request,) = server.get_batch(timeout=PATIENCE)
    assert pending.cancel() == "cancelled" and request.cancelled
    with pytest.raises(errors.Cancelled):
        request.respond([np.ones(1000)])
    with pytest.raises(errors.Cancelled):
        pending.wait(PATIENCE)
    assert (pulled == 0).all()
    again = worker.push_pull([(1, np.ones(4))], [(2, pulled)])
    answer(server, np.full(1000, 3.0))
    assert again.wait(PATIENCE) == [8000] and (pulled == 3).all() and again.cancel() == "completed"


def test_batches_of_any_of_a_quorum_and_of_what_there_is():
    with cluster(workers=3) as ((server,), workers):
        assert server.try_batch() is None and server.try_batch("any") is None
        with pytest.raises(errors.WaitTimeout):
            server.get_batch("any", 0.01)
        assert server.get_batch_within(0.01) == []
        pending = [workers[2].push_pull([(1, np.ones(1))])]
        (request,) = server.get_batch("any", PATIENCE)
        assert request.worker == 2
        request.respond()
        pending += [worker.push_pull([(1, np.ones(1))]) for worker in workers[:2]]
        batch = server.get_batch(2, PATIENCE)
        assert [request.worker for request in batch] == [0, 1]
        for request in batch:
            request.respond()
        pending.append(workers[1].push_pull([(1, np.ones(1))]))
        (request,) = server.get_batch("any", PATIENCE)
        request.respond()
        for one in pending:
            one.wait(PATIENCE)
        with pytest.raises(ValueError, match="gather"):
            server.get_batch("some")


def test_parts_of_a_batch_are_handed_out_together(pair):
    worker, server = pair
    pulled = np.zeros(1000)
    pending = [
        worker.push_pull([(1, np.full(1000, 1.0))], part="start"),
        worker.push_pull([(2, np.full(1000, 2.0))], part="middle"),
        worker.push_pull([(3, np.full(1000, 3.0))], [(9, pulled)], part="end"),
    ]
    (request,) = server.get_batch(timeout=PATIENCE)
    assert request.keys == [1, 2, 3]
    request.respond([sum(np.asarray(tensor) for tensor in request.tensors)])
    for one in pending:
        one.wait(PATIENCE)
    assert (pulled == 6).all()


def test_push_pulls_and_batches_are_awaited(pair):
    worker, server = pair

    async def serve(count):
        for _ in range(count):
            for request in await server.next_batch():
                request.respond([np.asarray(request.tensors[0]) * 2])

    async def ask(key):
        pulled = np.zeros(1000)
        assert await worker.push_pull([(key, np.full(1000, float(key)))], [(key, pulled)]) == [8000]
        assert (pulled == 2 * key).all()

    async def main():
        await asyncio.wait_for(asyncio.gather(serve(8), *(ask(key) for key in range(8))), PATIENCE)

    asyncio.run(main())


def test_a_cancelled_task_asks_for_a_stop(pair):
    worker, server = pair

    async def main():
        pending = worker.push_pull([(1, np.ones(4))], [(2, np.zeros(4))])
        task = asyncio.ensure_future(asyncio.wait_for(pending, PATIENCE))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pending

    pending = asyncio.run(main())
    with pytest.raises(errors.Cancelled):
        pending.wait(PATIENCE)


def test_memory_of_the_driver_is_an_array(pair):
    worker, server = pair
    room = worker.allocate((4, 8), "float32")
    assert (room.shape, room.dtype, room.nbytes, len(room)) == ((4, 8), "float32", 128, 4)
    array = np.asarray(room)
    array[:] = np.arange(32).reshape(4, 8)
    assert (room.rows(1, 2).numpy() == array[1:3]).all() and room.rows(1, 2).address == room.address + 32
    with pytest.raises(errors.TensorError):
        room.rows(3, 2)
    pulled = worker.register(np.zeros((4, 8), np.float32))
    pending = worker.push_pull([(1, room)], [(2, pulled)])
    (request,) = server.get_batch(timeout=PATIENCE)
    answer_room = server.allocate((4, 8), "float32")
    answer_room.numpy()[:] = request.tensors[0].numpy() + 1
    request.respond([answer_room])
    pending.wait(PATIENCE)
    assert (pulled.numpy() == array + 1).all()
    with pytest.raises(BufferError, match="one of"):
        worker.allocate((1,), "float31")
    with pytest.raises(errors.PushPullError) as foreign:
        worker.push_pull([(1, answer_room)])
    assert foreign.value.kind == "ForeignMemory"


def test_buffers_that_were_offered_are_where_pushes_arrive(pair):
    worker, server = pair
    buffer = np.zeros((2, 1000))
    server.offer(buffer, [(0, 5), (0, 6)])
    pending = worker.push_pull([(5, np.full(1000, 1.5)), (6, np.full(1000, 2.5))])
    (request,) = server.get_batch(timeout=PATIENCE)
    assert [tensor.address for tensor in request.tensors] == [buffer.ctypes.data, buffer.ctypes.data + 8000]
    assert (buffer[0] == 1.5).all() and (buffer[1] == 2.5).all()
    request.respond()
    pending.wait(PATIENCE)
    server.take_back(0, 5, PATIENCE)
    pending = worker.push_pull([(5, np.full(1000, 9.5))])
    (request,) = server.get_batch(timeout=PATIENCE)
    assert (request.tensors[0].numpy() == 9.5).all() and (buffer[0] == 1.5).all()
    request.respond()
    pending.wait(PATIENCE)
    with pytest.raises(errors.TensorError):
        server.offer(np.zeros(3, np.uint8), [(0, 5), (0, 6)])


def test_traces_are_of_each_server():
    with cluster(servers=2) as (servers, (worker,)):
        pending = worker.push_pull([(1, np.ones(4))])
        assert worker.fetch_trace(pending, PATIENCE) == []
        for server in servers:
            answer(server)
        pending.wait(PATIENCE)
        traces = worker.fetch_trace(pending, PATIENCE)
        assert [len(trace) for trace in traces] == [8, 8] and all(0 < moment <= pmd_af.now() for moment in sum(traces, []))


def test_many_arrays_that_nobody_keeps(pair):
    worker, server = pair
    for turn in range(2000):
        pulled = np.zeros(512, np.int32)
        pending = worker.push_pull([(1, np.full(512, turn, np.int32))], [(2, pulled)])
        for request in server.get_batch(timeout=PATIENCE):
            request.respond([np.asarray(request.tensors[0]) + 1])
        pending.wait(PATIENCE)
        assert (pulled == turn + 1).all()
