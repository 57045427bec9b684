"""The plugin in NIXL's own agent, as the wheel brings it. Run by run.py; every check looks at bytes or at a status."""

import os
import re
import socket
import subprocess
import sys
import threading
import time
import unittest

import numpy as np
from nixl_cu12 import _bindings as bindings
from nixl_cu12._api import nixl_agent, nixl_agent_config, nixl_thread_sync_t

import lines
from node import PATIENCE, Node, Process, introduce, pattern, until

SIZE = 1 << 20
BLOCK = 4096
BLOCKS = SIZE // BLOCK


def permutation(seed, count=BLOCKS):
    return np.random.default_rng(seed).permutation(count).astype(np.int32)


def moved(source, destination, here, there, block=BLOCK):
    """`destination` with blocks `there` of it replaced by blocks `here` of `source`."""
    result = np.frombuffer(destination, dtype=np.uint8).copy().reshape(-1, block)
    result[there] = np.frombuffer(source, dtype=np.uint8).reshape(-1, block)[here]
    return result.tobytes()


class Pair(unittest.TestCase):
    """An agent here and one in another process, which know each other."""

    def setUp(self):
        self.here = Node("here", SIZE)
        self.there = self.process("there", size=SIZE)
        introduce(self.here, self.there)
        self.address = self.there.place()[0]

    def process(self, name, **arguments):
        process = Process(name, **arguments)
        self.addCleanup(process.end)
        return process

    def fill(self, seed):
        self.here.fill(seed)
        self.there.fill(seed + 1)
        return self.here.content(), self.there.content()


class Transfers(Pair):
    def test_write_moves_every_block_to_its_place_and_then_notifies(self):
        ours, theirs = self.fill(1)
        here, there = permutation(1)[:100], permutation(2)[:100]
        pieces = [(int(a) * BLOCK, int(b) * BLOCK, BLOCK) for a, b in zip(here, there)]
        self.assertEqual(self.here.move("WRITE", "there", self.address, pieces, b"written"), "DONE")
        self.assertEqual(self.there.notifications(1), [("here", b"written")])
        self.assertEqual(self.there.content(), moved(ours, theirs, here, there))
        self.assertEqual(self.here.content(), ours)

    def test_read_moves_every_block_to_its_place_and_then_notifies(self):
        ours, theirs = self.fill(3)
        here, there = permutation(3)[:100], permutation(4)[:100]
        pieces = [(int(a) * BLOCK, int(b) * BLOCK, BLOCK) for a, b in zip(here, there)]
        self.assertEqual(self.here.move("READ", "there", self.address, pieces, b"read"), "DONE")
        self.assertEqual(self.here.content(), moved(theirs, ours, there, here))
        self.assertEqual(self.there.notifications(1), [("here", b"read")])
        self.assertEqual(self.there.content(), theirs)

    def test_pieces_of_any_length_at_any_place(self):
        ours, theirs = self.fill(5)
        pieces = [(7, 100_003, 1), (10_001, 13, 8191), (500_000, 300_000, 65_537), (SIZE - 3, SIZE - 3, 3)]
        self.assertEqual(self.here.move("WRITE", "there", self.address, pieces), "DONE")
        wanted = bytearray(theirs)
        for local, remote, size in pieces:
            wanted[remote : remote + size] = ours[local : local + size]
        self.assertEqual(self.there.content(), bytes(wanted))

    def test_prepared_lists_are_posted_again_and_again(self):
        local, remote = self.here.lists("there", self.address, BLOCK, BLOCKS, BLOCKS)
        here, there = permutation(5), permutation(6)
        handle = self.here.agent.make_prepped_xfer("WRITE", local, here, remote, there, b"", ["PMD"])
        for turn in range(3):
            ours, theirs = self.fill(10 + turn)
            message = b"turn %d" % turn
            self.here.agent.transfer(handle, message)
            self.assertEqual(self.here.finish(handle), "DONE")
            self.assertEqual(self.there.notifications(1), [("here", message)])
            self.assertEqual(self.there.content(), moved(ours, theirs, here, there))
        self.here.agent.release_xfer_handle(handle)
        self.here.agent.release_dlist_handle(local)
        self.here.agent.release_dlist_handle(remote)

    def test_both_directions_at_once(self):
        ours, theirs = self.fill(7)
        half = SIZE // 2
        handle = self.here.request("WRITE", "there", self.address, [(0, 0, half)], b"a")
        self.here.agent.transfer(handle, b"a")
        self.assertEqual(self.there.move("WRITE", "here", self.here.address(), [(half, half, half)], b"b"), "DONE")
        self.assertEqual(self.here.finish(handle), "DONE")
        self.assertEqual(self.here.notifications(1), [("there", b"b")])
        self.assertEqual(self.there.notifications(1), [("here", b"a")])
        self.assertEqual(self.here.content(), ours[:half] + theirs[half:])
        self.assertEqual(self.there.content(), ours[:half] + theirs[half:])
        self.here.agent.release_xfer_handle(handle)

    def test_cost_is_estimated_and_telemetry_counts_the_bytes(self):
        os.environ["NIXL_TELEMETRY_ENABLE"] = "y"
        self.addCleanup(os.environ.pop, "NIXL_TELEMETRY_ENABLE")
        measured = Node("measured", SIZE, capture_telemetry=True)
        measured.load(self.there.metadata())
        measured.fill(9)
        handle = measured.request("WRITE", "there", self.address, [(0, 0, SIZE)])
        duration, margin, method = measured.agent.estimate_xfer_cost(handle)
        self.assertGreater(duration, 0)
        self.assertGreaterEqual(margin, 0)
        # The wheel's Python takes the method's number for its enumeration, and finds it unknown.
        self.assertIn(method, ("ANALYTICAL_BACKEND", "UNKNOWN"))
        measured.agent.transfer(handle)
        self.assertEqual(measured.finish(handle), "DONE")
        telemetry = measured.agent.get_xfer_telemetry(handle)
        self.assertEqual((telemetry.totalBytes, telemetry.descCount), (SIZE, 1))
        self.assertEqual(self.there.content(), measured.content())
        measured.agent.release_xfer_handle(handle)

    def test_threads_share_an_agent(self):
        shared = Node("shared", SIZE, sync_mode=nixl_thread_sync_t.NIXL_THREAD_SYNC_STRICT)
        shared.load(self.there.metadata())
        shared.fill(20)
        part, states = SIZE // 4, [None] * 4

        def work(index):
            for turn in range(20):
                pieces = [(index * part, index * part, part)]
                states[index] = shared.move("WRITE", "there", self.address, pieces, b"%d" % index)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            self.assertFalse(thread.is_alive())
        self.assertEqual(states, ["DONE"] * 4)
        self.assertEqual(self.there.content(), shared.content())
        wanted = sorted([("shared", b"%d" % index) for index in range(4)] * 20)
        self.assertEqual(sorted(self.there.notifications(80)), wanted)


class Loopback(unittest.TestCase):
    def test_an_agent_moves_bytes_within_itself(self):
        node = Node("alone", SIZE)
        node.fill(1)
        before, half = node.content(), SIZE // 2
        self.assertEqual(node.move("WRITE", "alone", node.address(), [(0, half, half)], b"done"), "DONE")
        self.assertEqual(node.notifications(1), [("alone", b"done")])
        self.assertEqual(node.content(), before[:half] + before[:half])
        node.fill(2)
        before = node.content()
        self.assertEqual(node.move("READ", "alone", node.address(), [(0, half, half)]), "DONE")
        self.assertEqual(node.content(), before[half:] + before[half:])
        node.notify("alone", b"note to self")
        self.assertEqual(node.notifications(1), [("alone", b"note to self")])
        node.deregister()


class Notifications(Pair):
    def test_alone_they_have_any_size_and_bytes(self):
        messages = [b"", b"\x00\xff", bytes(range(256)) * 4, pattern(1, 100_000).tobytes(), pattern(2, 1 << 20).tobytes()]
        for message in messages:
            self.here.notify("there", message)
        wanted = [("here", message) for message in messages]
        self.assertEqual(sorted(self.there.notifications(len(messages))), sorted(wanted))

    def test_of_a_transfer_they_have_any_size(self):
        ours, _ = self.fill(1)
        message = pattern(3, 200_000).tobytes()
        self.assertEqual(self.here.move("WRITE", "there", self.address, [(0, 0, SIZE)], message), "DONE")
        self.assertEqual(self.there.notifications(1), [("here", message)])
        self.assertEqual(self.there.content(), ours)

    def test_a_thousand_arrive_once_each(self):
        messages = [b"%d" % index for index in range(1000)]
        for message in messages:
            self.here.notify("there", message)
        self.assertEqual(sorted(self.there.notifications(1000)), sorted(("here", message) for message in messages))
        self.assertEqual(self.there.notifications(0), [])

    def test_to_an_agent_that_is_not_known_there_are_none(self):
        with self.assertRaises(bindings.nixlNotFoundError):
            self.here.notify("nobody", b"x")


class Metadata(unittest.TestCase):
    def setUp(self):
        self.here = Node("here", SIZE)
        self.there = Process("there", size=SIZE)
        self.addCleanup(self.there.end)

    def writes(self, seed=1):
        """A write from here to there arrives."""
        self.here.fill(seed)
        state = self.here.move("WRITE", "there", self.there.place()[0], [(0, 0, SIZE)])
        return state == "DONE" and self.there.content() == self.here.content()

    def test_goes_through_the_side_channel(self):
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        listening = Process("listening", size=SIZE, enable_listen_thread=True, listen_port=port)
        self.addCleanup(listening.end)
        fetching = Node("fetching", SIZE, enable_listen_thread=True, listen_port=0)
        fetching.fetch_metadata("listening", port)
        fetching.send_metadata(port)
        fetching.fill(1)
        place = listening.place()[0]
        self.assertEqual(fetching.move("WRITE", "listening", place, [(0, 0, SIZE)], b"fetched"), "DONE")
        self.assertEqual(listening.notifications(1), [("fetching", b"fetched")])
        self.assertEqual(listening.content(), fetching.content())

    def test_is_small_and_may_be_partial(self):
        self.assertLess(len(self.there.metadata()), 512)
        self.here.load(self.there.partial_metadata())
        self.assertTrue(self.writes())

    def test_loading_connects_to_nobody_and_making_a_connection_does(self):
        metadata = self.there.metadata()
        self.here.load(metadata)
        self.here.load(metadata)
        self.here.agent.make_connection("there", ["PMD"])
        self.assertTrue(self.writes())

    def test_forgotten_and_loaded_again_it_serves_again(self):
        metadata = self.there.metadata()
        self.here.load(metadata)
        self.assertTrue(self.writes(1))
        self.here.forget("there")
        with self.assertRaises(bindings.nixlNotFoundError):
            self.writes(2)
        self.here.load(metadata)
        self.assertTrue(self.writes(3))

    def test_a_handle_outlived_by_its_metadata_is_refused(self):
        metadata = self.there.metadata()
        self.here.load(metadata)
        handle = self.here.request("WRITE", "there", self.there.place()[0], [(0, 0, SIZE)])
        self.here.forget("there")
        self.here.load(metadata)
        self.here.fill(1)
        with self.assertRaises(bindings.nixlNotFoundError):
            self.here.agent.transfer(handle)
        self.assertEqual(self.there.content(), bytes(SIZE))
        self.here.agent.release_xfer_handle(handle)

    def test_what_does_not_parse_is_refused(self):
        metadata = bytearray(self.there.metadata())
        place = metadata.index(b"PMD1")
        metadata[place : place + 4] = b"PMD0"
        with self.assertRaises(bindings.nixlMismatchError):
            self.here.load(bytes(metadata))
        with self.assertRaises(bindings.nixlNotFoundError):
            self.writes()

    def test_of_memory_that_was_deregistered_it_opens_nothing(self):
        self.here.load(self.there.metadata())
        self.there.deregister()
        with self.assertRaises(bindings.nixlNotFoundError):
            self.writes()
        self.assertEqual(self.there.content(), bytes(SIZE))


BIG = 64 << 20


class InFlight(unittest.TestCase):
    """Transfers too large to be over before the next call."""

    def setUp(self):
        self.here = Node("here", BIG)
        self.there = Process("there", size=BIG)
        self.addCleanup(self.there.end)
        self.here.load(self.there.metadata())
        self.address = self.there.place()[0]

    def post(self, operation, message=b"big"):
        """A request that is active, unless this thread slept through all of it ten times."""
        pieces = [(offset, offset, 1 << 20) for offset in range(0, BIG, 1 << 20)]
        handle = self.here.request(operation, "there", self.address, pieces, message)
        for _ in range(10):
            if self.here.agent.transfer(handle, message) == "PROC":
                break
        return handle

    def test_an_active_request_is_not_posted_again(self):
        self.here.memory[:] = 3
        handle = self.post("WRITE", b"")

        def refused():
            try:
                self.here.agent.transfer(handle)
            except bindings.nixlRepostActiveError:
                return True

        until(refused, "a request to be active when it is posted again")
        self.assertEqual(self.here.finish(handle), "DONE")
        self.assertEqual(self.there.digest(), self.here.digest())
        self.here.agent.release_xfer_handle(handle)

    def test_released_in_flight_it_leaves_the_memory_alone(self):
        self.there.fill(1)
        handle = self.post("READ")
        started = time.monotonic()
        try:
            self.here.agent.release_xfer_handle(handle)
        except bindings.nixlRepostActiveError:
            # Not quiet yet, and said so: the second time the agent frees it.
            self.here.agent.release_xfer_handle(handle)
        self.assertLess(time.monotonic() - started, PATIENCE)
        self.here.deregister()
        self.here.memory[:] = 0x5A
        time.sleep(0.2)
        self.assertTrue((self.here.memory == 0x5A).all(), "written after release and deregistration")
        self.here.register()
        self.assertEqual(self.here.move("READ", "there", self.address, [(0, 0, BIG)]), "DONE")
        self.assertEqual(self.here.digest(), self.there.digest())

    def test_deregistered_in_flight_it_is_stopped_first(self):
        self.there.fill(2)
        handle = self.post("READ")
        self.here.deregister()
        self.here.memory[:] = 0xA5
        time.sleep(0.2)
        self.assertTrue((self.here.memory == 0xA5).all(), "written after deregistration")
        try:
            self.assertEqual(self.here.finish(handle), "DONE")
        except bindings.nixlCancelledError:
            self.assertEqual(self.there.notifications(0), [])
        self.here.agent.release_xfer_handle(handle)

    def test_a_peer_that_dies_is_told_and_its_successor_serves(self):
        self.here.memory[:] = 9
        metadata = self.there.metadata()
        handle = self.post("WRITE")
        self.there.kill()
        self.disconnects(handle)
        self.here.agent.release_xfer_handle(handle)
        # What it left behind is known for what it is.
        self.here.load(metadata)
        with self.assertRaises(bindings.nixlRemoteDisconnectError):
            self.here.request("WRITE", "there", self.address, [(0, 0, BIG)])
        self.here.forget("there")
        successor = Process("there", size=SIZE)
        self.addCleanup(successor.end)
        self.here.load(successor.metadata())
        place = successor.place()[0]
        self.assertEqual(self.here.move("WRITE", "there", place, [(0, 0, SIZE)], b"again"), "DONE")
        self.assertEqual(successor.notifications(1), [("here", b"again")])
        self.assertEqual(successor.content(), b"\x09" * SIZE)

    def test_an_idle_peer_that_dies_is_noticed_by_the_next_transfer(self):
        handle = self.here.request("WRITE", "there", self.address, [(0, 0, SIZE)])
        self.here.agent.transfer(handle)
        self.assertEqual(self.here.finish(handle), "DONE")
        self.there.kill()
        self.disconnects(handle)
        self.here.agent.release_xfer_handle(handle)

    def disconnects(self, handle):
        """The request, or one of the next if it was over before, finds the agent gone."""

        def disconnected():
            try:
                if self.here.finish(handle) == "DONE":
                    self.here.agent.transfer(handle)
            except bindings.nixlRemoteDisconnectError:
                return True

        until(disconnected, "the other agent's death to be noticed")

    def test_an_agent_may_go_with_a_transfer_in_flight(self):
        handle = self.post("READ")
        other = Node("other", SIZE)
        other.load(self.there.metadata())
        del handle
        del self.here
        self.there.fill(3)
        self.assertEqual(other.move("READ", "there", self.address, [(0, 0, SIZE)]), "DONE")
        self.assertEqual(other.content(), pattern(3, BIG).tobytes()[:SIZE])


class Refusals(unittest.TestCase):
    """What cannot be, and what is said of it."""

    def stderr_of(self, script, **environment):
        """What a Python of its own writes to stderr; it has to end well."""
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stderr

    CREATE = """
import sys
from nixl_cu12 import _bindings
from nixl_cu12._api import nixl_agent, nixl_agent_config
agent = nixl_agent("a", nixl_agent_config(backends=[]))
try:
    agent.create_backend("PMD", {0})
except _bindings.{1}:
    sys.exit(0)
sys.exit("it was created")
"""

    def test_wrong_parameters_are_told(self):
        wrong = [("idle", "sleep", "takes spin, yield or park"), ("num_threads", "4", "there is no parameter num_threads")]
        wrong += [("interface", "no-such", "PMD_INTERFACE"), ("queue_pairs", "65", "1 to 64")]
        for name, value, told in wrong:
            problem = self.stderr_of(self.CREATE.format({name: value}, "nixlBackendError"))
            self.assertIn("NIXL plugin PMD: ", problem)
            self.assertIn(told, problem)

    def test_a_wrong_variable_is_told(self):
        problem = self.stderr_of(self.CREATE.format({}, "nixlBackendError"), PMD_TRANSPORT="carrier pigeon")
        self.assertIn("carrier pigeon", problem)

    def test_another_release_of_nixl_is_refused(self):
        other, release = os.environ["OTHER_NIXL"], os.environ["OTHER_RELEASE"]
        path = os.pathsep.join([other, os.environ["PYTHONPATH"]])
        problem = self.stderr_of(self.CREATE.format({}, "nixlNotFoundError"), PYTHONPATH=path)
        self.assertRegex(problem, rf"libnixl\.so is NIXL {re.escape(release)}, this plugin is built for NIXL 1\.5\.1")

    def test_parameters_are_listed_and_taken(self):
        agent = nixl_agent("a", nixl_agent_config(backends=[]))
        names = {"transport", "device", "idle", "queue_pairs", "accelerators", "interface", "key_file", "data_encryption"}
        self.assertEqual(set(agent.get_plugin_params("PMD")), names)
        self.assertEqual(agent.get_plugin_mem_types("PMD"), ["DRAM_SEG", "VRAM_SEG"])
        given = {"transport": "shm", "device": "", "idle": "yield", "queue_pairs": "4", "interface": "127.0.0.1"}
        one, other = Node("one", SIZE, parameters=given), Node("other", SIZE, parameters=given)
        introduce(one, other)
        one.fill(1)
        self.assertEqual(one.move("WRITE", "other", other.address(), [(0, 0, SIZE)]), "DONE")
        self.assertEqual(one.content(), other.content())

    def test_other_kinds_of_memory_are_refused(self):
        node = Node("a", SIZE)
        with self.assertRaises(Exception) as refused:
            node.agent.register_memory([(node.address(), SIZE, 0, "")], "VRAM", ["PMD"])
        self.assertRegex(str(refused.exception), "NIXL_ERR_(BACKEND|NOT_SUPPORTED|NOT_FOUND)")

    def test_memory_that_is_no_devices_is_refused_as_one(self):
        """Ordinary memory in a device's place stands for a runtime: NumPy's is not its own."""
        node = Node("a", SIZE, parameters={"accelerators": "cpu:0"})
        self.assertEqual(node.agent.get_backend_mem_types("PMD"), ["DRAM_SEG", "VRAM_SEG"])
        for device in (0, 1):
            with self.assertRaises(Exception) as refused:
                node.agent.register_memory([(node.address(), SIZE, device, "")], "VRAM", ["PMD"])
            self.assertRegex(str(refused.exception), "NIXL_ERR_(INVALID_PARAM|BACKEND|NOT_FOUND)")

    def test_memory_that_is_not_registered_is_refused(self):
        node = Node("a", SIZE)
        stray = np.zeros(SIZE, dtype=np.uint8)
        with self.assertRaises(bindings.nixlNotFoundError):
            node.request("WRITE", "a", stray.ctypes.data, [(0, 0, SIZE)])
        with self.assertRaises(bindings.nixlNotFoundError):
            node.request("WRITE", "a", node.address(), [(SIZE - 1, 0, 2)])
        self.assertEqual(stray.tobytes(), bytes(SIZE))

    def test_empty_memory_is_refused(self):
        node = Node("a", SIZE)
        with self.assertRaises(bindings.nixlBackendError):
            node.agent.register_memory([(node.address(), 0, 0, "")], "DRAM", ["PMD"])


if __name__ == "__main__":
    unittest.main(testRunner=lines.RUNNER)
