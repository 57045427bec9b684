import gc
import logging
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import kvtrans_engine
from conftest import PATIENCE
from pmd_kv import errors


@pytest.fixture
def engines():
    """A receiver and a sender that is connected to it, with the connections' numbers."""
    with kvtrans_engine.Engine("lo", 1, 1, 0) as receiver, kvtrans_engine.Engine("lo", 1, 1, 0) as sender:
        ip_addr, port = receiver.listen_address.split(":")
        success, outgoing = sender.connect(ip_addr, int(port))
        assert success
        success, came_from, back, incoming = receiver.accept()
        assert success and came_from == "127.0.0.1" and back == int(sender.listen_address.split(":")[1])
        yield receiver, incoming, sender, outgoing


def in_thread(call, *arguments):
    """Starts a call; the function that is returned waits for its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)), daemon=True)
    thread.start()

    def result():
        thread.join(PATIENCE)
        return results[0]

    return result


def test_upstreams_shape():
    engine = kvtrans_engine.Engine("lo", 2, 4, 0)
    assert repr(engine) == "<KVTrans Engine>"
    assert kvtrans_engine.Engine(if_name="lo", ncpus=1, nconn_per_cpu=1, listen_port=0).listen_address
    assert kvtrans_engine.create_buffer(4) == bytearray(4)
    assert kvtrans_engine.create_buffer(size=3, fill_value=65) == bytearray(b"AAA")
    assert kvtrans_engine.buffer_to_string(bytearray(b"Test string data")) == "Test string data"
    assert kvtrans_engine.buffer_to_string(np.frombuffer(b"abcd", np.int16)) == "abcd"
    assert engine.connect("127.0.0.1", 9) == (False, 0)
    # Numbers that there are not.
    assert engine.reg_kv(999, b"test data") == (False, 0)
    assert engine.send_kv(999, b"test data") is False
    assert engine.recv_kv(999, 16) == (False, b"")
    assert engine.dereg_kv(999) is False


def test_an_interface_that_there_is_not_is_named():
    with pytest.raises(errors.KvTransError, match="no-such-interface"):
        kvtrans_engine.Engine("no-such-interface", 1, 1, 0)
    with pytest.raises(errors.KvTransError, match="0 lanes"):
        kvtrans_engine.Engine("lo", 0, 1, 0)


def test_sends_meet_receives_in_order(engines):
    receiver, incoming, sender, outgoing = engines
    _, target = receiver.reg_kv(incoming, bytearray(64))
    _, source = sender.reg_kv(outgoing, bytearray(64))
    received = in_thread(lambda: [receiver.recv_kv(target, 64) for _ in range(5)])
    for length in range(5):
        assert sender.send_kv(source, b"x" * length)
    assert received() == [(True, b"x" * length) for length in range(5)]


def test_arrays_are_filled_and_sizes_returned(engines):
    receiver, incoming, sender, outgoing = engines
    array = np.zeros(1000, np.int32)
    _, target = receiver.reg_kv(incoming, array)
    wanted = np.arange(1000, dtype=np.int32)
    _, source = sender.reg_kv(outgoing, wanted)
    for room in (array.nbytes, 2 * array.nbytes):
        array[:] = 0
        received = in_thread(receiver.recv_kv, target, room)
        assert sender.send_kv(source, wanted)
        assert received() == (True, wanted.tobytes())
        assert np.array_equal(array, wanted)


def test_a_receive_that_is_too_small_fails_and_nothing_is_written_beyond(engines, caplog):
    receiver, incoming, sender, outgoing = engines
    array = np.zeros(64, np.uint8)
    _, target = receiver.reg_kv(incoming, array)
    _, source = sender.reg_kv(outgoing, b"y" * 64)
    received = in_thread(receiver.recv_kv, target, 16)
    with caplog.at_level(logging.WARNING, "kvtrans_engine"):
        assert sender.send_kv(source, b"y" * 64) is False
        assert received() == (False, b"")
    assert not array[16:].any()
    assert any("recv" in record.getMessage() for record in caplog.records)


def test_read_only_memory_receives_beside_it(engines):
    receiver, incoming, sender, outgoing = engines
    constant = b"constant"
    _, target = receiver.reg_kv(incoming, constant)
    _, source = sender.reg_kv(outgoing, bytearray(8))
    received = in_thread(receiver.recv_kv, target, 8)
    assert sender.send_kv(source, b"received")
    assert received() == (True, b"received") and constant == b"constant"


def test_registered_arrays_live_until_they_are_released(engines):
    receiver, incoming, sender, outgoing = engines
    array = np.full(128, 5, np.uint8)
    alive = weakref.ref(array)
    _, source = sender.reg_kv(outgoing, array)
    del array
    gc.collect()
    assert alive() is not None
    assert sender.dereg_kv(source)
    gc.collect()
    assert alive() is None
    assert sender.send_kv(source, b"z") is False


def test_closing_ends_waits(engines):
    receiver, incoming, sender, _ = engines
    _, target = receiver.reg_kv(incoming, bytearray(8))
    waits = [in_thread(receiver.recv_kv, target, 8), in_thread(receiver.accept)]
    sender.close()
    assert waits[0]() == (False, b"")
    receiver.close()
    assert waits[1]()[0] is False


def test_both_forms_of_endpoint():
    with kvtrans_engine.Endpoint(local_gpu_idx=201, num_cpus=1) as server:
        with kvtrans_engine.Endpoint(gpu_idx=202, ncpus=1) as client:
            assert repr(server) == "<KVTrans Endpoint>"
            success, outgoing = client.connect(remote_ip_addr="127.0.0.1", remote_gpu_idx=201)
            assert success
            success, ip_addr, gpu, incoming = server.accept()
            assert (success, ip_addr, gpu) == (True, "127.0.0.1", 202)
            target, source = np.zeros(64, np.float32), np.arange(64, dtype=np.float32)
            _, there = server.reg_kv(target.ctypes.data, target.nbytes)
            _, here = client.reg_kv(ptr=source.ctypes.data, size=source.nbytes)
            received = in_thread(
                lambda: server.recv_kv(incoming, there, target.ctypes.data, max_size=2 * target.nbytes)
            )
            assert client.send_kv(outgoing, here, source.ctypes.data, source.nbytes)
            assert received() == (True, 256) and np.array_equal(target, source)
            _, there = server.reg_kv(np.zeros(8, np.uint8))
            _, here = client.reg_kv(buffer=bytearray(8))
            received = in_thread(server.recv_kv, incoming, there, 8)
            assert client.send_kv(outgoing, here, b"buffers!")
            assert received() == (True, b"buffers!")
            assert server.dereg_kv(there) and not server.dereg_kv(there)
    for wrong in [{}, {"local_gpu_idx": 0}, {"local_gpu_idx": 0, "gpu_idx": 1, "num_cpus": 1}, {"colour": 1}]:
        with pytest.raises(TypeError):
            kvtrans_engine.Endpoint(**wrong)


def test_engines_that_nobody_closed_say_goodbye_at_exit(caplog):
    program = """
import kvtrans_engine, threading
engine = kvtrans_engine.Engine("lo", 1, 1, 0)
print(engine.listen_address, flush=True)
assert engine.accept()[0]
# Its frame keeps the engine beyond the interpreter's end.
threading.Thread(target=engine.accept, daemon=True).start()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            host, _, port = process.stdout.readline().strip().rpartition(":")
            with kvtrans_engine.Engine("lo", 1, 1, 0) as engine:
                success, connection = engine.connect(host, int(port))
                assert success
                assert process.wait(PATIENCE) == 0
                success, kv_id = engine.reg_kv(connection, bytearray(8))
                assert not (success and engine.send_kv(kv_id, bytearray(8)))
                # One that went without a word would be missed.
                assert "goodbye" in caplog.text
        finally:
            process.kill()
