"""ps-lite's simple API: key-values and small requests."""

import threading

import numpy as np
import pytest

from conftest import PATIENCE, cluster
from pmd_af import errors
from pmd_af.simple import KvServer, KvWorker, Message, Pairs, SimpleApp

#: A key of the first and one of the second of two servers.
LOW, HIGH = 7, 2**64 - 8


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_pushes_of_the_same_keys_add_up(dtype):
    with cluster(servers=2) as (servers, (worker,)):
        serving = [KvServer(server, dtype=dtype) for server in servers]
        values = KvWorker(worker, dtype)
        for _ in range(3):
            values.wait(values.push([LOW, HIGH], [1, 2, 3, 4]), PATIENCE)
        pulled = values.wait(values.pull([LOW, HIGH], 2), PATIENCE)
        assert pulled.keys == [LOW, HIGH] and pulled.values.tolist() == [3, 6, 9, 12]
        assert pulled.values.dtype == np.dtype(dtype)
        both = values.push_pull([LOW, HIGH], np.array([1, 1, 1]), 3, lengths=[1, 2])
        assert values.wait(both, PATIENCE) == (
            [LOW, HIGH],
            pytest.approx(np.array([4, 6, 10, 13])),
            [2, 2],
        )
        assert values.is_done(both)
        with pytest.raises(errors.UnknownHandle):
            values.wait(both, PATIENCE)
        for each in serving:
            each.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_handler_answers_or_raises(pair):
    worker, server = pair
    seen = []

    def handle(request):
        seen.append((request.worker, request.command, request.push, request.pull, list(request.pairs.keys)))
        if request.command == 13:
            raise ValueError("an unlucky command")
        return Pairs(request.pairs.keys, [0.5] * len(request.pairs.keys)) if request.pull else None

    with KvServer(server, handle):
        values = KvWorker(worker)
        values.wait(values.push([1, 2], [5.0, 6.0], command=3), PATIENCE)
        assert values.wait(values.pull([4, 9], 1), PATIENCE).values.tolist() == [0.5, 0.5]
        with pytest.raises(errors.Refused):
            values.wait(values.pull([4], 1, command=13), PATIENCE)
    assert seen == [(0, 3, True, False, [1, 2]), (0, 0, False, True, [4, 9]), (0, 13, False, True, [4])]


def test_what_does_not_go_together_is_refused(pair):
    worker, _ = pair
    values = KvWorker(worker)
    for keys, given in (([2, 1], [1, 2]), ([1, 2], [1, 2, 3])):
        with pytest.raises(errors.PushPullError):
            values.push(keys, given)
    with pytest.raises(ValueError, match="dtype"):
        KvWorker(worker, "text")
    with pytest.raises(errors.WaitTimeout):
        values.wait(values.pull([1], 1), 0.01)


def test_applications_ask_each_other(pair):
    worker, server = pair
    answers, asked = [], threading.Event()

    def quiet(message):
        asked.set()

    with (
        SimpleApp(worker, 5, on_request=lambda message: message.body * 2, on_response=answers.append) as at_worker,
        SimpleApp(server, 5, on_request=lambda message: bytes(reversed(message.body))) as at_server,
        SimpleApp(server, 6, on_request=quiet),
        SimpleApp(worker, 6) as unanswered,
    ):
        number = at_worker.request("server", 0, head=2, body=b"abc")
        at_worker.wait(number, PATIENCE)
        assert answers == [Message("server", 0, number, 2, b"cba")]
        at_server.wait(at_server.request("worker", body=b"x"), PATIENCE)
        with pytest.raises(errors.PeerDown):
            at_worker.request("server", 9)
        with pytest.raises(errors.ConfigurationError):
            at_worker.request("chief")
        never = unanswered.request("server")
        assert asked.wait(PATIENCE)
        with pytest.raises(errors.WaitTimeout):
            unanswered.wait(never, 0.01)
    with pytest.raises(TypeError):
        SimpleApp(object())
