"""An agent with one buffer, in this process or in another: what the tests and the comparison move bytes between."""

import ctypes
import hashlib
import multiprocessing
import os
import signal
import time
import traceback

import numpy as np
from nixl_cu12._api import nixl_agent, nixl_agent_config

PATIENCE = 30.0


def until(condition, what, patience=PATIENCE):
    """Asks again and again, and gives up in the end."""
    deadline = time.monotonic() + patience
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s for {what}")


def pattern(seed, size):
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


class Node:
    """A NIXL agent with a registered buffer of NumPy's memory."""

    def __init__(self, name, size=0, backend="PMD", parameters=None, **config):
        self.name, self.backend, self.size = name, backend, size
        self.agent = nixl_agent(name, nixl_agent_config(backends=[], **config))
        self.agent.create_backend(backend, parameters or {})
        self.memory = np.zeros(size, dtype=np.uint8)
        self.registered = None
        if size:
            self.register()

    def register(self):
        self.registered = self.agent.register_memory([(self.address(), self.size, 0, "")], "DRAM", [self.backend])

    def deregister(self):
        self.agent.deregister_memory(self.registered, [self.backend])
        self.registered = None

    def address(self):
        return self.memory.ctypes.data

    def place(self):
        """Where a peer finds the buffer."""
        return self.address(), self.size

    def metadata(self):
        return self.agent.get_agent_metadata()

    def partial_metadata(self):
        return self.agent.get_partial_agent_metadata(self.registered, True, [self.backend])

    def load(self, metadata):
        name = self.agent.add_remote_agent(metadata)
        return name.decode() if isinstance(name, bytes) else name

    def forget(self, name):
        self.agent.remove_remote_agent(name)

    def fill(self, seed):
        self.memory[:] = pattern(seed, self.size)

    def content(self):
        return self.memory.tobytes()

    def digest(self):
        return hashlib.blake2b(self.memory).hexdigest()

    def request(self, operation, remote, remote_address, pieces, message=b""):
        """A request of (offset here, offset there, bytes)."""
        local = self.agent.get_xfer_descs([(self.address() + here, size, 0) for here, _, size in pieces], "DRAM")
        target = self.agent.get_xfer_descs([(remote_address + there, size, 0) for _, there, size in pieces], "DRAM")
        return self.agent.initialize_xfer(operation, local, target, remote, message, [self.backend])

    def lists(self, remote, remote_address, block, here, there):
        """Prepared lists of this side's and the remote side's blocks."""
        local = [(self.address() + index * block, block, 0) for index in range(here)]
        target = [(remote_address + index * block, block, 0) for index in range(there)]
        return (
            self.agent.prep_xfer_dlist("", local, "DRAM", [self.backend]),
            self.agent.prep_xfer_dlist(remote, target, "DRAM", [self.backend]),
        )

    def finish(self, handle):
        """The state in which a request that was posted ends."""
        return until(lambda: (self.agent.check_xfer_state(handle) != "PROC") and "ended", "a transfer") and (
            self.agent.check_xfer_state(handle)
        )

    def move(self, operation, remote, remote_address, pieces, message=b""):
        handle = self.request(operation, remote, remote_address, pieces, message)
        self.agent.transfer(handle, message)
        state = self.finish(handle)
        self.agent.release_xfer_handle(handle)
        return state

    def notify(self, remote, message):
        self.agent.send_notif(remote, message)

    def notifications(self, count):
        """The next notifications, at least so many, as (agent, message)."""
        found = []

        def enough():
            for agent, messages in self.agent.get_new_notifs([self.backend]).items():
                found.extend((agent, bytes(message)) for message in messages)
            return len(found) >= count

        until(enough, f"{count} notifications")
        return found

    def send_metadata(self, port):
        self.agent.send_local_metadata("127.0.0.1", port)

    def fetch_metadata(self, name, port):
        self.agent.fetch_remote_metadata(name, "127.0.0.1", port)
        until(lambda: self.agent.check_remote_metadata(name), f"the metadata of {name}")


def serve(pipe, name, arguments):
    """Does what comes through the pipe with a node of its own."""
    # An orphan of a test that was killed goes too.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    try:
        node = Node(name, **arguments)
        pipe.send((True, os.getpid()))
        while True:
            call = pipe.recv()
            if call is None:
                break
            method, positional, named = call
            try:
                pipe.send((True, getattr(node, method)(*positional, **named)))
            except Exception:
                pipe.send((False, traceback.format_exc()))
    except EOFError:
        pass
    except Exception:
        pipe.send((False, traceback.format_exc()))


class Process:
    """A node in another process; its methods are called as those of a node."""

    def __init__(self, name, **arguments):
        self.name = name
        here, there = multiprocessing.get_context("spawn").Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=serve, args=(there, name, arguments), daemon=True)
        self.process.start()
        there.close()
        self.pipe = here
        self.pid = self.answer("start")

    def answer(self, what):
        if not self.pipe.poll(PATIENCE + 10):
            raise AssertionError(f"{self.name} does not answer {what}")
        fine, value = self.pipe.recv()
        if not fine:
            raise AssertionError(f"{self.name} failed to {what}:\n{value}")
        return value

    def __getattr__(self, method):
        def call(*positional, **named):
            self.pipe.send((method, positional, named))
            return self.answer(method)

        return call

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        self.process.join(PATIENCE)

    def end(self):
        try:
            self.pipe.send(None)
        except OSError:
            pass
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, f"{self.name} does not end"
        return self.process.exitcode


def introduce(one, other):
    """Each gets the other's metadata."""
    one_data, other_data = one.metadata(), other.metadata()
    assert one.load(other_data) == other.name
    assert other.load(one_data) == one.name
