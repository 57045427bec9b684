"""Processes that are killed: what waits for them fails, what does not goes on."""

import numpy as np
import pytest

import pmd_af
from conftest import PATIENCE
from pmd_af import errors
from processes import Processes, free_port, until

#: A server that tells what it does, line by line.
SERVER = """
import sys, numpy, pmd_af
rank, address, workers, servers = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
with pmd_af.Server(scheduler=address, rank=rank, workers=workers, servers=servers, listen="127.0.0.1:0") as server:
    print("up", server.node.epoch, flush=True)
    while True:
        for request in server.get_batch("any", 60):
            if request.tag:
                request.respond([request.tensors[0]]).wait(10)
            print("took", request.tag, flush=True)
            sys.held = request
"""

#: A worker that sends one request and waits.
WORKER = """
import sys, time, numpy, pmd_af
rank, address, workers, servers = int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
with pmd_af.Worker(scheduler=address, rank=rank, workers=workers, servers=servers) as worker:
    worker.push_pull([(1, numpy.ones(1000))], [(2, numpy.ones(1000))])
    print("sent", flush=True)
    time.sleep(60)
"""

SCHEDULER = """
import sys, pmd_af
with pmd_af.Scheduler(scheduler=sys.argv[1], workers=1, servers=1) as scheduler:
    print("up", flush=True)
    scheduler.wait_finished(60)
"""


def ask(worker, servers, tag):
    pulled = [np.zeros(1000) for _ in servers]
    pending = worker.push_pull([(1, np.full(1000, 5.0))], [(2, array) for array in pulled], servers=servers, tag=tag)
    return pending, pulled


def test_a_killed_server_fails_its_requests_and_no_others_and_may_come_again():
    shape = {"workers": 1, "servers": 2}
    with Processes() as processes, pmd_af.Scheduler(scheduler="127.0.0.1:0", **shape) as scheduler:
        servers = [processes.start("-c", SERVER, rank, scheduler.address, 1, 2) for rank in range(2)]
        with pmd_af.Worker(scheduler=scheduler.address, start_timeout=PATIENCE, **shape) as worker:
            doomed, _ = ask(worker, [0], 0)
            until(servers[0], "took 0")
            servers[0].kill()
            with pytest.raises(errors.PeerDown) as raised:
                doomed.wait(PATIENCE)
            assert raised.value.server == 0 and isinstance(raised.value, ConnectionError)
            with pytest.raises(errors.PeerDown):
                ask(worker, [0], 1)
            pending, (pulled,) = ask(worker, [1], 1)
            assert pending.wait(PATIENCE) == [8000] and (pulled == 5).all()
            assert worker.node.wait_event(PATIENCE)[0] == "down"
            assert [down is None for _, _, down in worker.servers()] == [False, True]

            again = processes.start("-c", SERVER, 0, scheduler.address, 1, 2)
            assert worker.node.wait_member("server", 0, after=1, timeout=PATIENCE) == 2
            assert until(again, "up") == "up 2"
            assert worker.connect() == [0]
            pending, pulled = ask(worker, [0, 1], 1)
            assert pending.wait(PATIENCE) == [8000, 8000] and (np.stack(pulled) == 5).all()


def test_a_killed_worker_is_told_to_who_waits_for_a_batch():
    shape = {"workers": 1, "servers": 1}
    with Processes() as processes, pmd_af.Scheduler(scheduler="127.0.0.1:0", **shape) as scheduler:
        worker = processes.start("-c", WORKER, 0, scheduler.address, 1, 1)
        options = {"listen": "127.0.0.1:0", "start_timeout": PATIENCE, **shape}
        with pmd_af.Server(scheduler=scheduler.address, **options) as server:
            (request,) = server.get_batch(timeout=PATIENCE)
            worker.kill()
            with pytest.raises(errors.PeerDown) as raised:
                server.get_batch(timeout=PATIENCE)
            assert raised.value.worker == 0
            with pytest.raises(errors.PeerDown):
                request.respond([np.ones(1000)])
            with pytest.raises(errors.BarrierFailed):
                server.node.barrier("gone", timeout=PATIENCE)


def test_without_the_scheduler_push_pulls_go_on_and_barriers_fail():
    shape, port = {"workers": 1, "servers": 1}, free_port()
    with Processes() as processes:
        address = f"127.0.0.1:{port}"
        scheduler = processes.start("-c", SCHEDULER, address)
        until(scheduler, "up")
        server = processes.start("-c", SERVER, 0, address, 1, 1)
        with pmd_af.Worker(scheduler=address, start_timeout=PATIENCE, **shape) as worker:
            until(server, "up")
            scheduler.kill()
            assert worker.node.wait_event(PATIENCE)[0] == "scheduler lost"
            with pytest.raises(errors.SchedulerLost):
                worker.node.barrier("nobody", timeout=PATIENCE)
            pending, (pulled,) = ask(worker, [0], 1)
            assert pending.wait(PATIENCE) == [8000] and (pulled == 5).all()
