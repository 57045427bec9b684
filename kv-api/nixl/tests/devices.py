"""VRAM in NIXL's own agent, on the stand-in for the CUDA driver. Run by run.py, which puts it on the library path; only the
driver touches the memory, since whatever else does ends the process."""

import ctypes
import unittest

import numpy as np

import lines
from node import Node, introduce, pattern

SIZE = 1 << 20
BLOCK = 4096
BLOCKS = SIZE // BLOCK


class Driver:
    """The part of the driver's interface that a program has memory by."""

    def __init__(self):
        self.library, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
        assert hasattr(self.library, "fake_device_counts"), "not the stand-in"
        self("cuInit", 0)
        self("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self("cuCtxPushCurrent_v2", context)

    def __call__(self, function, *arguments):
        code = getattr(self.library, function)(*arguments)
        assert code == 0, f"{function}: {code}"

    def allocated(self, content):
        address = ctypes.c_uint64()
        self("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(content.nbytes))
        self("cuMemcpyHtoD_v2", address, content.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(content.nbytes))
        return address.value

    def content(self, address):
        bytes_ = np.zeros(SIZE, np.uint8)
        target = bytes_.ctypes.data_as(ctypes.c_void_p)
        self("cuMemcpyDtoH_v2", target, ctypes.c_uint64(address), ctypes.c_size_t(SIZE))
        return bytes_

    def free(self, address):
        self("cuMemFree_v2", ctypes.c_uint64(address))


class Vram(unittest.TestCase):
    def setUp(self):
        self.driver, given = Driver(), {"accelerators": "fake-cuda:0"}
        self.here, self.there = Node("here", parameters=given), Node("there", SIZE, parameters=given)

    def register(self, node, address, device=0):
        return node.agent.register_memory([(address, SIZE, device, "")], "VRAM", ["PMD"])

    def move(self, operation, local, remote, kind):
        """Block i here goes to block 255 - i there."""
        blocks = [(index * BLOCK, (BLOCKS - 1 - index) * BLOCK) for index in range(BLOCKS)]
        agent = self.here.agent
        ours = agent.get_xfer_descs([(local + here, BLOCK, 0) for here, _ in blocks], "VRAM")
        theirs = agent.get_xfer_descs([(remote + there, BLOCK, 0) for _, there in blocks], kind)
        handle = agent.initialize_xfer(operation, ours, theirs, "there", b"moved", ["PMD"])
        agent.transfer(handle)
        self.assertEqual(self.here.finish(handle), "DONE")
        agent.release_xfer_handle(handle)

    def test_blocks_move_between_devices_and_to_and_from_the_host(self):
        self.assertEqual(self.here.agent.get_backend_mem_types("PMD"), ["DRAM_SEG", "VRAM_SEG"])
        content = pattern(1, SIZE)
        turned = content.reshape(BLOCKS, BLOCK)[::-1].ravel()
        near, far = self.driver.allocated(content), self.driver.allocated(np.zeros(SIZE, np.uint8))
        ours, theirs = self.register(self.here, near), self.register(self.there, far)
        introduce(self.here, self.there)
        self.move("WRITE", near, far, "VRAM")
        self.assertTrue(np.array_equal(self.driver.content(far), turned))
        self.move("WRITE", near, self.there.address(), "DRAM")
        self.assertTrue(np.array_equal(self.there.memory, turned))
        self.there.memory[:] = pattern(2, SIZE)
        self.move("READ", near, self.there.address(), "DRAM")
        self.assertTrue(np.array_equal(self.driver.content(near).reshape(BLOCKS, BLOCK)[::-1].ravel(), pattern(2, SIZE)))
        self.here.agent.deregister_memory(ours, ["PMD"])
        self.there.agent.deregister_memory(theirs, ["PMD"])
        self.driver.free(near)
        self.driver.free(far)

    def test_other_devices_and_freed_memory_are_refused(self):
        address = self.driver.allocated(np.zeros(SIZE, np.uint8))
        with self.assertRaises(Exception):
            self.register(self.here, address, device=1)
        self.here.agent.deregister_memory(self.register(self.here, address), ["PMD"])
        self.driver.free(address)
        with self.assertRaises(Exception):
            self.register(self.here, address)


if __name__ == "__main__":
    unittest.main(testRunner=lines.RUNNER)
