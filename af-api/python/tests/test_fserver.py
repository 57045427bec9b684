"""StepMesh's interface, between processes: its roles, its numbers, its buffers, and what it does wrong."""

from processes import Processes, finished, free_port

#: What every script begins with.
BEGIN = """
import os, numpy as np, fserver_lib as f
from pmd_af import errors

def raises(kind, call, *arguments):
    try:
        call(*arguments)
    except kind as error:
        return error
    raise AssertionError(f"{call.__name__}{arguments} raised no {kind.__name__}")

role, rank = os.environ["DMLC_ROLE"], int(os.environ.get("DMLC_NODE_RANK", 0))
workers, servers = int(os.environ["DMLC_NUM_WORKER"]), int(os.environ["DMLC_NUM_SERVER"])
"""


def run(script, workers=1, servers=1, joint=False, **variables):
    """Runs a script as every process of a cluster; a joint one is a worker and a server."""
    cluster = {
        "DMLC_NUM_WORKER": workers,
        "DMLC_NUM_SERVER": servers,
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": free_port(),
        "STEPMESH_GPU": 0,
        **variables,
    }
    roles = {"joint": workers} if joint else {"server": servers, "worker": workers}
    places = [("scheduler", 0)] + [(role, rank) for role, count in roles.items() for rank in range(count)]
    with Processes() as processes:
        nodes = [processes.start("-c", BEGIN + script, DMLC_ROLE=role, DMLC_NODE_RANK=rank, **cluster)
                 for role, rank in places]
        return finished(*nodes)


def test_pushes_are_summed_with_the_numbers_of_stepmesh():
    run("""
raises(errors.Closed, f.wait, 0)
raises(errors.Closed, f.stop)
f.init()
if role == "worker":
    pushed = [np.random.rand(1, 8192).astype(np.float32) for _ in range(3)]
    pulled = [np.zeros((1, 8192), np.float32)]
    handle = f.push_pull(pushed, [0, 1, 2], pulled, [0])
    assert f.get_all_handlers(handle) == [0, 1, 2, 3]
    f.wait(handle)
    assert np.allclose(sum(pushed), pulled[0])
    f.wait(handle)
    trace = f.fetch_trace(2)
    assert all(f.fetch_trace(number) == trace for number in f.get_all_handlers(handle))
    start, sent, received, process, responded, response_sent, response_received, done = trace
    assert 0 < start <= sent <= received <= process <= responded <= response_sent, trace
    assert start <= response_received <= done <= f.get_nanosecond(), trace
    assert f.push_pull(pushed[:1], [0], [], []) == 4
    assert raises(errors.UnknownHandle, f.wait, 77).handle == 77
    raises(errors.PushPullError, f.push_pull, pushed, [0], [], [])
    raises(errors.PushPullError, f.push_pull, [], [], [], [])
    raises(errors.ConfigurationError, f.get_batch)
    raises(TimeoutError, f.wait, 4, 20)
    f.barrier(True, True)
    f.wait(4)
elif role == "server":
    ((handler, tensors, keys),) = f.get_batch()
    assert keys == [0, 1, 2] and [tensor.shape for tensor in tensors] == [(1, 8192)] * 3
    f.respond([sum(tensors)], handler)
    raises(errors.UnknownHandle, f.respond, tensors, handler)
    ((handler, _, _),) = f.get_batch()
    f.barrier(True, True)
    raises(TypeError, f.respond, [5], handler)
    f.respond([], handler)
    raises(errors.ConfigurationError, f.push_pull, [], [], [], [])
raises(errors.ConfigurationError, f.init)
f.stop()
raises(errors.Closed, f.barrier, True, True)
""")


def test_workers_and_servers_in_any_number_with_vector_answers():
    run("""
f.init()
if role == "worker":
    f.barrier(False, True)
    buffers = [np.zeros((64, 96), np.float32) for _ in range(servers)]
    for turn in range(30):
        rows = 64 if turn == 0 else 1 + (turn * 7 + rank) % 64
        pulled = [buffer[:rows] for buffer in buffers]
        pushed = np.full((rows, 96), turn + rank, np.float32)
        f.wait(f.push_pull([pushed], [rank << 16], pulled, [1000 + number for number in range(servers)]))
        assert all((tensor == turn + 100 * server).all() for server, tensor in enumerate(pulled))
elif role == "server":
    f.barrier(True, False)
    answer = np.zeros((64, 96), np.float32)
    for turn in range(30):
        batch = f.get_batch()
        assert [keys for _, _, keys in batch] == [[number << 16] for number in range(workers)]
        assert all((tensors[0] == turn + number).all() for number, (_, tensors, _) in enumerate(batch))
        f.barrier(True, False)
        answer = np.full((64, 96), turn + 100 * rank, np.float32)
        f.respond_vec(answer, [tensors[0] for _, tensors, _ in batch], [handler for handler, _, _ in batch])
    raises(errors.ResponseError, f.respond_vec, answer, [answer], [])
f.stop()
""", workers=3, servers=2)


def test_instances_talk_to_those_of_their_number():
    run("""
os.environ["DMLC_GROUP_SIZE"], os.environ["STEPMESH_GPU"] = "2", str(rank)
os.environ["DMLC_NODE_RANK"] = "0"
os.environ["DMLC_NUM_WORKER"] = os.environ["DMLC_NUM_SERVER"] = "1"
f.init()
if role == "worker":
    pulled = np.zeros(10)
    f.wait(f.push_pull([np.full(10, float(rank))], [0], [pulled], [0]))
    assert (pulled == 10 + rank).all()
    f.barrier(False, True)
elif role == "server":
    ((handler, tensors, _),) = f.get_batch()
    assert (tensors[0] == rank).all()
    f.respond([tensors[0] + 10], handler)
f.stop()
""", workers=2, servers=2)


def test_buffers_that_were_registered_are_where_pushes_arrive():
    run("""
f.init()
if role == "server":
    room = np.zeros((2, 500))
    f.register_recv_buffer(room, [0, 0], [7, 8])
    raises(errors.TensorError, f.register_recv_buffer, room, [0], [7, 8])
    raises(errors.TensorError, f.register_recv_buffer, room, [0] * 3, [1, 2, 3])
if role == "scheduler":
    raises(errors.BarrierFailed, f.barrier, True, True)
else:
    f.barrier(True, True)
if role == "worker":
    f.wait(f.push_pull([np.full(500, 1.0), np.full(500, 2.0)], [7, 8], [], []))
elif role == "server":
    ((handler, tensors, _),) = f.get_batch()
    assert tensors[1].ctypes.data == room[1].ctypes.data
    assert (room[0] == 1).all() and (room[1] == 2).all()
    f.respond([], handler)
f.stop()
""")


def test_flags_and_notifications_work_in_host_memory():
    run("""
class Device:
    def __dlpack_device__(self):
        return (2, 0)

flag, number = np.zeros(1, np.int64), np.zeros(1, np.int64)
f.seq_add_one(number)
f.write_flag(flag, number)
f.wait_flag(flag, number)
assert flag[0] == number[0] == 1
for call in (f.write_flag, f.wait_flag):
    raises(errors.DeviceMissing, call, Device(), number)
raises(NotImplementedError, f.seq_add_one, Device())
assert "CUDA device 3" in str(raises(errors.DeviceMissing, f.map_pinned_tensor, flag, 3))
os.environ["STEPMESH_BACKEND"] = "CPU"
assert f.map_pinned_tensor(flag, 0) is flag

f.init()
notify = f.SimpleNotify()
notify.init()
if role == "worker":
    pulled = np.zeros(4)
    notify.stream_wait_event(f.push_pull([np.ones(4)], [0], [pulled], [0]))
    notify.wait_event_done()
    notify.block_now_stream()
    assert (pulled == 1).all()
elif role == "server":
    raises(errors.Closed, notify.get_future_batch_data)
    notify.block_now_stream_and_get_batch()
    ((handler, tensors, _),) = notify.get_future_batch_data()
    f.respond(tensors, handler)
f.stop()
""")


def test_joint_processes_are_workers_and_servers():
    run("""
f.init()
if role == "joint":
    f.barrier(True, True)
    f.barrier(True, False)
    for turn in range(5):
        pulled = [np.zeros(4) for _ in range(servers)]
        handle = f.push_pull([np.full(4, rank + 1.0)], [7], pulled, [1, 2])
        batch = f.get_batch()
        assert [(tensors[0][0], keys) for _, tensors, keys in batch] == [(1, [7]), (2, [7])]
        for handler, tensors, _ in batch:
            f.respond([tensors[0] * 10 + rank], handler)
        f.wait(handle)
        assert [tensor[0] for tensor in pulled] == [(rank + 1) * 10, (rank + 1) * 10 + 1], pulled
f.stop()
""", workers=2, servers=2, joint=True)


def test_an_event_is_waited_for_where_it_is_needed():
    run("""
import threading, pmd_af
f.init()
stream, go = pmd_af.Stream(), threading.Event()
def fill(array, value):
    assert go.wait(30)
    array[:] = value
if role == "worker":
    pushed, pulled = np.zeros(1000), np.zeros(1000)
    with pmd_af.stream(stream):
        stream.launch(fill, pushed, 7)
        at_once = f.push_pull([pushed], [0], [], [], need_event=False)
        f.wait(at_once)
        later = f.push_pull([pushed], [0], [pulled], [1], need_event=True)
        raises(TimeoutError, f.wait, later, 20)
        go.set()
        f.wait(later)
    assert pmd_af.current_stream() is None and (pulled == 8).all()
elif role == "server":
    ((handler, tensors, _),) = f.get_batch()
    assert (tensors[0] == 0).all()
    f.respond([], handler)
    ((handler, tensors, _),) = f.get_batch()
    assert (tensors[0] == 7).all()
    answer = np.zeros(1000)
    with pmd_af.stream(stream):
        stream.launch(fill, answer, 8)
        f.respond([answer], handler, need_event=True)
    raises(errors.UnknownHandle, f.respond, [answer], handler)
    go.set()
    stream.synchronize(30)
f.stop()
""")


def test_what_cannot_start_says_why():
    run("""
os.environ["DMLC_ROLE"] = "chief"
assert raises(errors.ConfigurationError, f.init).variable == "DMLC_ROLE"
os.environ["DMLC_ROLE"] = role
# A busy machine starts some of them later than others.
os.environ["PMD_START_TIMEOUT"] = "7" if role == "scheduler" else "5"
os.environ["DMLC_NUM_WORKER"] = "2"
if role != "scheduler":
    assert "worker 1" in raises(errors.StartError, f.init).missing
else:
    raises(errors.Incomplete, f.init)
""")
