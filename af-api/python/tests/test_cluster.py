"""Who takes part: starts, barriers, events, and what cannot be."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import pmd_af
from conftest import PATIENCE, cluster
from pmd_af import errors

SHAPE = {"workers": 2, "servers": 1, "start_timeout": PATIENCE}


def refused(start, kind):
    """What a start fails with that is given little time, or more where the machine is too busy to find out."""
    for seconds in (0.3, 3.0, PATIENCE):
        with pytest.raises(errors.Error) as raised:
            start(seconds)
        if raised.value.kind == kind:
            break
    assert raised.value.kind == kind
    return raised.value


def test_a_cluster_knows_its_members():
    with cluster(workers=2, servers=1) as ((server,), workers):
        assert [worker.node.rank for worker in workers] == [0, 1]
        assert (server.node.workers, server.node.servers, server.node.instance, server.node.epoch) == (2, 1, 0, 1)
        assert server.node.members() == [("server", 0, 1, "up"), ("worker", 0, 1, "up"), ("worker", 1, 1, "up")]
        assert [(rank, down) for rank, _, down in workers[0].servers()] == [(0, None)]
        assert workers[0].connect() == [] and server.address.startswith("127.0.0.1:")
        workers[1].close()
        assert server.node.wait_event(PATIENCE) == ("left", ("worker", 1, 1, "left"))
        with pytest.raises(errors.WaitTimeout):
            server.node.wait_event(0.01)
        assert server.node.wait_member("worker", 0, timeout=PATIENCE) == 1
        with pytest.raises(errors.WaitTimeout):
            server.node.wait_member("worker", 0, after=1, timeout=0.01)
        with pytest.raises(errors.ConfigurationError):
            server.node.wait_member("scheduler", 0)


def test_who_is_missing_is_named():
    with pmd_af.Scheduler(scheduler="127.0.0.1:0", **SHAPE) as scheduler:
        def alone(seconds):
            pmd_af.Worker(scheduler=scheduler.address, rank=1, **{**SHAPE, "start_timeout": seconds})

        error = refused(alone, "Missing")
        assert error.missing == ["server 0", "worker 0"] and isinstance(error, TimeoutError)
        assert isinstance(error, errors.Incomplete)
        with pytest.raises(errors.Incomplete) as raised:
            scheduler.wait_formed(0.01)
        assert "server 0" in raised.value.missing
        with pytest.raises(errors.WaitTimeout):
            scheduler.wait_finished(0.01)


def test_barriers_let_everybody_go_or_say_who_is_not_there():
    with cluster(workers=2) as ((server,), workers):
        nodes = [node.node for node in (server, *workers)]
        with ThreadPoolExecutor(3) as pool:
            for _ in range(5):
                list(pool.map(lambda node: node.barrier("all", timeout=PATIENCE), nodes))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda node: node.barrier("ours", ["worker"], timeout=PATIENCE), nodes[1:]))
        with pytest.raises(errors.BarrierTimeout) as raised:
            nodes[0].barrier("alone", timeout=0.1)
        assert raised.value.missing == ["worker 0", "worker 1"] and raised.value.name == "alone"
        for wrong in ({"roles": ["chief"]}, {"instances": "few"}):
            with pytest.raises(errors.ConfigurationError):
                nodes[0].barrier("wrong", **wrong)
        with pytest.raises(errors.BarrierFailed):
            nodes[0].barrier("others", ["worker"], timeout=PATIENCE)


def test_other_threads_run_while_one_waits():
    with cluster() as ((server,), _):
        ran = threading.Event()
        threading.Thread(target=ran.set).start()
        with pytest.raises(errors.WaitTimeout):
            server.get_batch(timeout=0.2)
        assert ran.wait(PATIENCE)


def test_what_is_closed_says_so():
    with cluster() as ((server,), (worker,)):
        pass
    for call in (server.get_batch, server.workers, worker.servers, worker.push_pull, worker.node.members):
        with pytest.raises(errors.Closed):
            call()


def test_options_that_cannot_be(monkeypatch):
    for variable in ("DMLC_NUM_WORKER", "DMLC_NUM_SERVER", "DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT"):
        monkeypatch.delenv(variable, raising=False)
    wrong = [
        ({"workers": 0}, None),
        ({"workers": "many"}, "DMLC_NUM_WORKER"),
        ({"scheduler": "nowhere"}, "scheduler"),
        ({"transport": "pigeon"}, "PMD_TRANSPORT"),
        ({"rank": 7}, None),
    ]
    for option, variable in wrong:
        with pytest.raises(errors.ConfigurationError) as raised:
            pmd_af.Worker(**{"scheduler": "127.0.0.1:1", **SHAPE, **option})
        assert raised.value.variable == variable
    with pytest.raises(errors.ConfigurationError) as raised:
        pmd_af.Worker(scheduler="127.0.0.1:1")
    assert raised.value.variable == "DMLC_NUM_WORKER"
    with pytest.raises(TypeError, match="no option"):
        pmd_af.Worker(scheduler="127.0.0.1:1", **SHAPE, colour="red")
    with pytest.raises(ValueError, match="timeout"):
        pmd_af.Worker(scheduler="127.0.0.1:1", **{**SHAPE, "start_timeout": -1})
    with pytest.raises(errors.StartError):
        pmd_af.Worker(scheduler="127.0.0.1:1", **{**SHAPE, "start_timeout": 0.2})


def test_a_place_that_is_taken_is_refused():
    with cluster() as (_, (worker,)):
        address = worker.node.scheduler
        shape = {"scheduler": address, "workers": 1, "servers": 1, "start_timeout": PATIENCE}

        def again(seconds):
            pmd_af.Worker(keep_alive=seconds / 3, down_after=seconds, **shape)

        error = refused(again, "Refused")
        assert isinstance(error, errors.StartError) and "taken" in str(error)
