"""What several tests use. No test waits for ever: PATIENCE bounds every wait, and a watchdog the whole test."""

import faulthandler
import os

import pytest

PATIENCE = 20.0
WATCHDOG = 90


@pytest.fixture(autouse=True)
def watchdog():
    """A test that hangs ends the run, with every thread's stack."""
    faulthandler.dump_traceback_later(WATCHDOG, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def pair():
    """Two engines of this process: one listens, the other is connected to it."""
    import pmd_kv

    with pmd_kv.Engine(name="decode", listen="127.0.0.1:0") as decode:
        with pmd_kv.Engine(name="prefill") as prefill:
            peer = prefill.connect(decode.address)
            yield prefill, decode, peer


@pytest.fixture
def fabrics():
    """Two fabrics of this process: one listens, the other is connected to it."""
    import pmd_kv

    with pmd_kv.Fabric(name="there", listen="127.0.0.1:0") as there:
        with pmd_kv.Fabric(name="here") as here:
            peer = here.connect(there.address)
            yield here, there, peer


@pytest.fixture
def open_files():
    """Checks that a test leaves as many descriptors open as it found."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before
