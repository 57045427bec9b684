"""Tensors in memory that only an accelerator's streams touch: of the device that PMD_TEST_DEVICE names, such as a
stand-in's (fake-cuda). Without it ordinary memory in a device's place shows what is refused."""

import os
import pathlib

import numpy as np
import pytest

from conftest import PATIENCE, cluster
from pmd_af import errors
from processes import Processes, finished, free_port

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
DEVICE = os.environ.get("PMD_TEST_DEVICE", "cpu")

#: Ordinary memory in a device's place has no default stream and no number in DLPack, and whoever opens it in one process has
#: a device of its own, whose memory others there do not reach.
needs_a_runtime = pytest.mark.skipif(DEVICE == "cpu", reason="ordinary memory in a device's place is private here")


@pytest.fixture
def pair():
    """A worker and its server, with an accelerator each."""
    with cluster(accelerators=DEVICE, device_areas=True) as ((server,), (worker,)):
        yield worker, server


def on_device(node, values):
    """An array on the node's device."""
    values = np.asarray(values, "float32")
    tensor = node.allocate(values.shape, device=True)
    tensor.copy_from(values)
    return tensor


def values(tensor):
    return np.frombuffer(tensor.tobytes(), "float32")


class Foreign:
    """What another library would show of its tensor."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.streams = []

    def __dlpack__(self, stream=None, **_wishes):
        self.streams.append(stream)
        return self.tensor.__dlpack__()

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


@needs_a_runtime
def test_tensors_of_a_device_are_pushed_pulled_and_answered_with(pair):
    worker, server = pair
    pushed, pulled, host = on_device(worker, range(1000)), on_device(worker, [0] * 500), np.zeros(10, "float32")
    assert pushed.device.startswith(DEVICE.removeprefix("fake-")) and pushed.device.endswith(":0")
    pending = worker.push_pull([(0, pushed), (1, np.full(3, 7, "float32"))], [(2, pulled), (3, host)])
    (request,) = server.get_batch(timeout=PATIENCE)
    first, second = request.tensors
    assert first.device == second.device == pushed.device
    assert (values(first) == np.arange(1000)).all() and (values(second) == 7).all()
    request.respond([on_device(server, [5] * 500), on_device(server, [6] * 10)]).wait(PATIENCE)
    pending.wait(PATIENCE)
    assert (values(pulled) == 5).all() and (host == 6).all()
    assert (values(pulled.rows(1, 2)) == 5).all() and len(pulled.rows(1, 2)) == 2


def test_the_processor_is_kept_from_memory_of_a_device(pair):
    worker, _ = pair
    tensor = on_device(worker, [1, 2])
    with pytest.raises(BufferError, match="copy"):
        tensor.numpy()
    with pytest.raises(BufferError):
        memoryview(tensor)
    with pytest.raises(errors.TensorError):
        tensor.copy_from(np.zeros(3, "float32"))
    assert "host" not in repr(tensor) and worker.allocate((2,)).device == "host"


def test_who_names_no_accelerator_has_none():
    with cluster() as ((server,), (worker,)):
        for node in (worker, server):
            with pytest.raises(BufferError, match="accelerator"):
                node.allocate((4,), device=True)
            with pytest.raises(BufferError, match="accelerator"):
                node.event()
        with pytest.raises(BufferError, match="accelerator"):
            worker.push_pull([(0, np.zeros(4))], stream=0)
    with pytest.raises(errors.ConfigurationError) as caught, cluster(accelerators="cuda:4000"):
        pass
    assert caught.value.variable == "PMD_ACCELERATORS"


def test_streams_that_are_not_there_are_refused(pair):
    worker, server = pair
    if DEVICE == "cpu":
        with pytest.raises(errors.StreamError):
            worker.push_pull([(0, np.zeros(4))], stream=12345)
        with pytest.raises(errors.StreamError):
            server.event(12345)
    with pytest.raises(TypeError):
        worker.try_push_pull([(0, np.zeros(4))], stream=0)


@needs_a_runtime
def test_a_push_pull_takes_its_turn_in_a_stream(pair):
    worker, server = pair
    pushed, pulled = on_device(worker, [3] * 2000), on_device(worker, [0] * 2000)
    pending = worker.push_pull([(0, pushed)], [(1, pulled)], stream=0)
    behind = worker.event()
    assert not behind.done()
    (request,) = server.get_batch(timeout=PATIENCE)
    assert (values(request.tensors[0]) == 3).all()
    assert not behind.done()
    # Not in the turn of this very stream, which waits for the answer.
    request.respond([on_device(server, [4] * 2000)])
    behind.wait(PATIENCE)
    pending.wait(PATIENCE)
    assert (values(pulled) == 4).all()


@needs_a_runtime
def test_a_response_follows_a_stream(pair):
    worker, server = pair
    pulled = on_device(worker, [0] * 2000)
    pending = worker.push_pull(pull=[(1, pulled)], after=worker.event())
    (request,) = server.get_batch(timeout=PATIENCE)
    server.respond_on(0, request, [on_device(server, [4] * 2000)])
    pending.wait(PATIENCE)
    assert request.answered and (values(pulled) == 4).all()


@needs_a_runtime
def test_tensors_of_other_libraries_are_taken_by_dlpack(pair):
    worker, server = pair
    pushed, pulled = Foreign(on_device(worker, range(300))), Foreign(on_device(worker, [0] * 300))
    assert pushed.__dlpack_device__()[0] in (2, 10, 12)
    pending = worker.push_pull([(0, pushed)], [(1, pulled)])
    (request,) = server.get_batch(timeout=PATIENCE)
    assert (values(request.tensors[0]) == np.arange(300)).all()
    request.respond([on_device(server, [9] * 300)])
    pending.wait(PATIENCE)
    assert (values(pulled.tensor) == 9).all()
    # The order is the caller's: nobody is asked to wait for a stream.
    assert set(pushed.streams) <= {None, -1}


@needs_a_runtime
def test_streams_push_and_pull_by_themselves(pair):
    worker, server = pair
    pushed, pulled = np.arange(100, dtype="float32"), np.zeros(100, "float32")
    exchange = worker.capture({0: pushed}, {1: pulled}, timeout=PATIENCE)
    for launch in (1, 2):
        pushed += 1
        exchange.put(0)
        (request,) = server.get_batch(timeout=PATIENCE)
        assert (values(request.tensors[0]) == pushed).all()
        request.respond([np.full(100, launch, "float32")]).wait(PATIENCE)
        exchange.wait(launch, PATIENCE)
        assert (pulled == launch).all() and exchange.check() == launch
    exchange.put(0)
    (request,) = server.get_batch(timeout=PATIENCE)
    request.refuse(5)
    with pytest.raises(errors.Refused) as failure:
        exchange.wait(3, PATIENCE)
    assert failure.value.launch == 3
    with pytest.raises(errors.WaitTimeout):
        exchange.wait(4, 0.001)
    exchange.close(PATIENCE)
    exchange.put(0)
    with pytest.raises(errors.Closed) as failure:
        exchange.wait(4, PATIENCE)
    assert failure.value.launch == 4
    exchange.release()
    with pytest.raises(errors.Closed):
        exchange.check()


@needs_a_runtime
def test_streams_take_batches_and_answer_by_themselves(pair):
    worker, server = pair
    received, answer = server.allocate((100,)), server.allocate((100,))
    with pytest.raises(errors.PushPullError):
        server.capture([(0, [(7, received)], [answer])])
    server.offer(received, [(0, 7)])
    service = server.capture([(0, [(7, received)], [answer])], timeout=PATIENCE)
    pulled = np.zeros(100, "float32")
    for launch in (1, 2):
        answer.numpy()[:] = 10 * launch
        service.put_batch(0)
        service.put_responses(0)
        worker.push_pull({7: np.full(100, launch, "float32")}, {8: pulled}, timeout=PATIENCE).wait(PATIENCE)
        service.wait(launch, PATIENCE)
        assert (received.numpy() == launch).all() and (pulled == 10 * launch).all()
    assert service.check() == 2
    service.put_batch(0)
    service.close(PATIENCE)
    with pytest.raises(errors.Closed) as failure:
        service.wait(3, PATIENCE)
    assert failure.value.launch == 3
    service.release()


@pytest.mark.skipif("cuda" not in DEVICE, reason="only streams of CUDA are captured")
def test_the_example_of_captured_layers():
    script, port = EXAMPLES / "captured_layers.py", free_port()
    with Processes() as processes:
        scheduler = processes.start(script, "scheduler", port)
        nodes = [processes.start(script, role, port, DEVICE) for role in ("server", "worker")]
        served, asked = finished(*nodes)
        assert "ok: 64 launches have answered" in served
        assert "ok: 64 tokens have gone through both graphs" in asked
        assert "ok: everybody has come and gone" in finished(scheduler)[0]
