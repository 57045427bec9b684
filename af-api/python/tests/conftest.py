"""What several tests use. No test waits for ever: PATIENCE bounds every wait, and a watchdog the whole test."""

import contextlib
import faulthandler
from concurrent.futures import ThreadPoolExecutor

import pytest

PATIENCE = 20.0
WATCHDOG = 90


@pytest.fixture(autouse=True)
def watchdog():
    """A test that hangs ends the run, with every thread's stack."""
    faulthandler.dump_traceback_later(WATCHDOG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def cluster(workers=1, servers=1, **options):
    """A cluster in this process: its servers, its workers."""
    import pmd_af

    shape = {"workers": workers, "servers": servers, "start_timeout": PATIENCE, **options}
    with pmd_af.Scheduler(scheduler="127.0.0.1:0", **shape) as scheduler, contextlib.ExitStack() as stack:

        def start(role, rank):
            listen = {"listen": "127.0.0.1:0"} if role is pmd_af.Server else {}
            return role(scheduler=scheduler.address, rank=rank, **listen, **shape)

        with ThreadPoolExecutor(workers + servers) as pool:
            places = [(pmd_af.Server, rank) for rank in range(servers)]
            places += [(pmd_af.Worker, rank) for rank in range(workers)]
            nodes = [stack.enter_context(node) for node in pool.map(lambda place: start(*place), places)]
        yield nodes[:servers], nodes[servers:]


@pytest.fixture
def pair():
    """A worker and its server."""
    with cluster() as ((server,), (worker,)):
        yield worker, server
