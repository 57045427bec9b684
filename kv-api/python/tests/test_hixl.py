import ctypes
import logging
import threading
import time

import numpy as np
import pytest

import hixl
from conftest import PATIENCE
from test_examples import free_ports


@pytest.fixture
def engines():
    """A server and a client that is connected to it, with the server's name."""
    name = f"127.0.0.1:{free_ports(1)}"
    server, client = hixl.Hixl(), hixl.Hixl()
    assert server.initialize(name) == hixl.SUCCESS
    assert client.initialize("127.0.0.1", {}) == hixl.SUCCESS
    assert client.connect(name, 5000) == hixl.SUCCESS
    yield server, client, name
    client.finalize()
    server.finalize()


def registered(engine, array, kind=hixl.MEM_HOST):
    status, handle = engine.register_mem(hixl.MemDesc(array.ctypes.data, array.nbytes), kind)
    assert status == hixl.SUCCESS and handle != 0
    return handle


def pieces(local, remote, size):
    return [
        hixl.TransferOpDesc(local_addr=local.ctypes.data + at, remote_addr=remote.ctypes.data + at, len=size)
        for at in range(0, local.nbytes, size)
    ]


def test_names_and_numbers():
    for name in hixl.__all__:
        assert hasattr(hixl, name)
    assert (hixl.MEM_DEVICE, hixl.MEM_HOST, hixl.READ, hixl.WRITE) == (0, 1, 0, 1)
    assert (hixl.AUTO_CONNECT, hixl.CLIENT_SERVER_COMM, hixl.DISCONNECTING) == (0, 1, 6)
    assert hixl.TransferStatus.FAILED == 3 and hixl.AsyncConnectStatus.CONNECTED == 3
    assert hixl.get_capability(hixl.FeatureType.AUTO_CONNECT) == (hixl.SUCCESS, hixl.FEATURE_SUPPORTED)
    assert hixl.get_capability(77) == (hixl.SUCCESS, hixl.FEATURE_NOT_SUPPORTED)
    assert hixl.get_capability(-1) == (hixl.PARAM_INVALID, hixl.FEATURE_NOT_SUPPORTED)
    piece = hixl.TransferOpDesc(1, 2, 3)
    piece.len = 4
    assert (piece.local_addr, piece.remote_addr, piece.len) == (1, 2, 4)
    assert repr(hixl.MemDesc(1, len=2)) == "MemDesc(addr=1, len=2)"
    with pytest.raises(AttributeError):
        hixl.TransferResult().status = 1


def test_lists_are_read_and_written(engines):
    server, client, name = engines
    far, near = np.arange(1 << 16, dtype=np.uint8), np.zeros(1 << 16, np.uint8)
    handle = registered(server, far, hixl.MEM_DEVICE)
    registered(client, near)
    assert client.transfer_sync(name, hixl.READ, pieces(near, far, 4096)) == hixl.SUCCESS
    assert np.array_equal(near, far)
    near[:] = 7
    status = client.transfer_sync(name, op=hixl.WRITE, op_descs=pieces(near, far, 1 << 14), timeout_in_millis=5000)
    assert status == hixl.SUCCESS and (far == 7).all()
    assert server.deregister_mem(handle) == hixl.SUCCESS
    assert client.transfer_sync(name, hixl.READ, pieces(near, far, 1 << 16)) != hixl.SUCCESS or (near == 7).all()


def test_asynchronous_transfers_end_once(engines):
    server, client, name = engines
    far, near = np.full(4096, 9, np.uint8), np.zeros(4096, np.uint8)
    registered(server, far)
    registered(client, near)
    args = hixl.TransferArgs()
    args.user_data = 123
    status, request = client.transfer_async(name, hixl.READ, pieces(near, far, 64), args)
    assert status == hixl.SUCCESS and request != 0
    deadline, found = time.monotonic() + PATIENCE, []
    while not found and time.monotonic() < deadline:
        status, found = client.get_all_transfer_status(hixl.GetTransferStatusArgs(10, skip_waiting=True))
        assert status == hixl.SUCCESS
    assert [(one.req, one.user_data, one.status) for one in found] == [(request, 123, hixl.TransferStatus.COMPLETED)]
    assert (near == 9).all()
    assert client.get_transfer_status(request) == (hixl.PARAM_INVALID, hixl.TransferStatus.FAILED)


def test_notifications(engines):
    server, client, name = engines
    for number in range(3):
        assert client.send_notify(name, hixl.NotifyDesc("näme", f"message {number}")) == hixl.SUCCESS
    status, notes = server.get_notifies()
    assert status == hixl.SUCCESS
    assert [(note.name, note.notify_msg) for note in notes] == [("näme", f"message {number}") for number in range(3)]
    assert server.get_notifies() == (hixl.SUCCESS, [])
    assert client.send_notify(name, hixl.NotifyDesc("x" * 1025, "")) == hixl.PARAM_INVALID


def test_links_are_made_and_taken_down(engines, caplog):
    _, client, name = engines
    with caplog.at_level(logging.WARNING, "hixl"):
        assert client.connect(name) == hixl.ALREADY_CONNECTED
    assert "already" in caplog.text
    assert client.disconnect(name) == hixl.SUCCESS
    assert client.disconnect(name) == hixl.NOT_CONNECTED
    assert client.send_notify(name, hixl.NotifyDesc("a", "b")) == hixl.NOT_CONNECTED
    assert client.connect(name, 0) == hixl.PARAM_INVALID
    assert client.connect("nowhere") == hixl.PARAM_INVALID
    assert client.get_async_connect_status(name) == (hixl.SUCCESS, hixl.NOT_CONNECT)
    assert client.connect_async(name, 5000) == hixl.SUCCESS
    deadline = time.monotonic() + PATIENCE
    while client.get_async_connect_status(name)[1] != hixl.CONNECTED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.get_all_async_connect_status() == (hixl.SUCCESS, {name: hixl.CONNECTED})


def test_options_that_cannot_be():
    engine = hixl.Hixl()
    assert engine.initialize("127.0.0.1", {hixl.OPTION_BUFFER_POOL: "many"}) == hixl.PARAM_INVALID
    assert engine.initialize("127.0.0.1", {hixl.OPTION_AUTO_CONNECT: "1"}) == hixl.SUCCESS
    assert engine.initialize("127.0.0.1") == hixl.SUCCESS
    engine.finalize()
    engine.finalize()
    assert engine.connect("127.0.0.1:9") == hixl.FAILED
    with pytest.raises(TypeError):
        engine.initialize("127.0.0.1", {"a": 1})


def test_memory_that_is_none():
    engine = hixl.Hixl()
    assert engine.initialize("127.0.0.1") == hixl.SUCCESS
    assert engine.register_mem(hixl.MemDesc(0, 16), hixl.MEM_HOST) == (hixl.PARAM_INVALID, 0)
    buffer = ctypes.create_string_buffer(64)
    memory = hixl.MemDesc(ctypes.addressof(buffer), 64)
    status, handle = engine.register_mem(memory, hixl.MEM_HOST)
    assert engine.register_mem(memory, hixl.MEM_HOST) == (hixl.SUCCESS, handle)
    assert engine.deregister_mem(0) == hixl.PARAM_INVALID
    engine.finalize()


def test_transfers_let_other_threads_run(engines):
    server, client, name = engines
    far, near = np.zeros(1 << 24, np.uint8), np.zeros(1 << 24, np.uint8)
    registered(server, far)
    registered(client, near)
    statuses = []
    work = lambda: statuses.append(client.transfer_sync(name, hixl.READ, pieces(near, far, 1 << 24), 20000))
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert statuses == [hixl.SUCCESS] * 4
