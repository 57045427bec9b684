"""What a push waits for, and what became of its time."""

import json
import threading

import numpy as np
import pytest

import pmd_af
from conftest import PATIENCE, cluster
from pmd_af import errors


def answered(worker, servers, **options):
    """A push-pull that every server has answered."""
    pulled = [(1, np.zeros(500)) for _ in servers]
    pending = worker.push_pull([(0, np.ones(500))], pulled, **options)
    for server in servers:
        for request in server.get_batch(timeout=PATIENCE):
            request.respond([np.full(500, 3.0)]).wait(PATIENCE)
    pending.wait(PATIENCE)
    return pending


def test_a_push_and_a_response_wait_for_their_streams(pair):
    worker, server = pair
    go, stream = threading.Event(), pmd_af.Stream()
    pushed, pulled, answer = np.zeros(1000), np.zeros(1000), np.zeros(1000)

    def fill(array, value):
        assert go.wait(PATIENCE)
        array[:] = value

    stream.launch(fill, pushed, 5)
    event = stream.record()
    pending = worker.push_pull([(0, pushed)], [(1, pulled)], after=event)
    assert not event.done() and server.try_batch("any") is None
    with pytest.raises(errors.WaitTimeout):
        event.wait(0.01)
    go.set()
    (request,) = server.get_batch(timeout=PATIENCE)
    assert event.done() and (request.tensors[0].numpy() == 5).all()
    go.clear()
    stream.launch(fill, answer, 6)
    server.respond_after(stream.record(), request, [answer])
    assert request.answered and pending.poll() is None
    go.set()
    pending.wait(PATIENCE)
    stream.synchronize(PATIENCE)
    assert (pulled == 6).all()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_raises_in_a_stream_fails_what_waits_for_it(pair):
    worker, server = pair
    stream = pmd_af.Stream()
    stream.launch(lambda: 1 / 0)
    failed = stream.record()
    with pytest.raises(errors.StreamError):
        stream.synchronize(PATIENCE)
    with pytest.raises(errors.StreamError):
        failed.done()
    with pytest.raises(errors.StreamError):
        worker.push_pull([(0, np.ones(4))], after=failed).wait(PATIENCE)
    pending = worker.push_pull([(0, np.ones(4))], after=None)
    (request,) = server.get_batch(timeout=PATIENCE)
    server.respond_after(failed, request)
    with pytest.raises(errors.Refused):
        pending.wait(PATIENCE)


def test_threads_choose_their_own_streams():
    first, second = pmd_af.Stream(), pmd_af.Stream()
    with pmd_af.stream(first), pmd_af.stream(second):
        assert pmd_af.current_stream() is second
        seen = []
        thread = threading.Thread(target=lambda: seen.append(pmd_af.current_stream()))
        thread.start()
        thread.join()
        assert seen == [None]
    assert pmd_af.current_stream() is None


def test_traces_are_summed_up_and_exported(tmp_path):
    with cluster(servers=2) as (servers, (worker,)):
        for _ in range(3):
            answered(worker, servers)
        worker.fetch_traces(PATIENCE)
        reports = worker.trace_report()
        assert [report["name"] for report in reports] == ["server 0", "server 1"]
        for report in reports:
            assert (report["requests"], report["failed"]) == (3, 0)
            total = report["phases"]["total"]
            assert total["count"] == 3 and 0 < total["minimum"] <= total["p50"] <= total["p99"] <= total["maximum"]
            assert report["phases"]["compute"]["count"] == 3
            offset, uncertainty = report["offset"]
            assert abs(offset) <= uncertainty, "one machine has one clock"
        behind = worker.stragglers()
        assert sum(report["behind"]["count"] for report in behind) == 3 and behind[0]["shared"] == 3
        told = servers[0].trace_report()
        assert [(report["name"], report["requests"]) for report in told] == [("worker 0", 3)]

        worker.write_chrome_trace(tmp_path / "trace.json")
        events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
        assert sum(event["name"] == "compute" for event in events) == 6
        with pytest.raises(OSError):
            worker.write_chrome_trace(tmp_path / "nowhere" / "trace.json")
        worker.reset_traces()
        servers[0].reset_traces()
        assert worker.trace_report()[0]["requests"] == servers[0].trace_report()[0]["requests"] == 0


def test_parts_belong_to_the_batch_of_their_thread_or_number(pair):
    worker, server = pair
    worker.declare(0, 0, 8000, 8)

    def part(of, value, **options):
        return worker.push_pull([(0, np.full(1000, value))], part=of, timeout=PATIENCE, **options)

    pending = [part("start", 1.0), part("start", 2.0, batch=9)]
    with pytest.raises(errors.PushPullError) as raised:
        part("end", 3.0, batch=10)
    assert (raised.value.kind, raised.value.server) == ("NoBatch", 0)
    other = threading.Thread(target=lambda: pending.append(part("end", 2.0, batch=9)))
    other.start()
    other.join()
    pending.append(part("end", 1.0))
    for value in (2.0, 1.0):
        (request,) = server.get_batch(timeout=PATIENCE)
        assert [tensor.numpy()[0] for tensor in request.tensors] == [value, value]
        request.respond([])
    for each in pending:
        each.wait(PATIENCE)
