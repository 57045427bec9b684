"""This plugin and NIXL's UCX in the same agent, iteration by iteration in turns, so that both meet the same machine.

    compare.py FOLDER [--iterations N] [--pause MICROSECONDS]

FOLDER is what run.py left. Two processes, NumPy's memory, prepared lists, a random permutation of blocks; the plugin is built
for release first. The last line of output is JSON: for each case microseconds from post to done, minimum and median, of
both, and how many times faster the plugin is by each. Every byte is checked after the timed iterations. UCX copies within
the posting call; the plugin's lane copies beside the caller, who slows it down where cores are few unless there is a pause
between two looks at the status.
"""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = [(4096, 16 << 10), (16384, 4 << 10)]
BACKENDS = ("PMD", "UCX")


class Side:
    """One back end: an agent here, one in another process, and a request for each operation."""

    def __init__(self, backend, blocks, block):
        import numpy as np
        from node import Node, Process

        size, arguments = blocks * block, {"backend": backend}
        self.node = Node(f"{backend}-here", size, **arguments)
        self.process = Process(f"{backend}-there", size=size, **arguments)
        self.node.load(self.process.metadata())
        remote = self.process.name
        local, target = self.node.lists(remote, self.process.place()[0], block, blocks, blocks)
        self.order = np.random.default_rng(1).permutation(blocks).astype(np.int32)
        every = np.arange(blocks, dtype=np.int32)
        self.shape = (blocks, block)
        started = time.perf_counter()
        self.requests = {
            operation: self.node.agent.make_prepped_xfer(operation, local, every, target, self.order, b"", [backend])
            for operation in ("WRITE", "READ")
        }
        self.making = (time.perf_counter() - started) / len(self.requests)

    def iterate(self, operation, pause=0):
        """Microseconds of the posting call, and from post to done."""
        agent, request = self.node.agent.agent, self.requests[operation]._handle
        started = time.perf_counter()
        # The bindings themselves: their Python wrapper costs both the same.
        status = int(agent.postXferReq(request, ""))
        posted = time.perf_counter()
        while status == 1:
            if pause:
                time.sleep(pause / 1e6)
            status = int(agent.getXferStatus(request))
        ended = time.perf_counter()
        assert status == 0, f"{self.node.backend} {operation} ended with {status}"
        return (posted - started) * 1e6, (ended - started) * 1e6

    def verify(self):
        """Every block of a write and of a read is in its place."""
        import numpy as np

        self.node.fill(1)
        self.iterate("WRITE")
        ours = self.node.memory.reshape(self.shape)
        wanted = np.empty_like(ours)
        wanted[self.order] = ours
        assert self.process.digest() == hashlib.blake2b(wanted).hexdigest(), f"{self.node.backend} WRITE"
        self.process.fill(2)
        self.iterate("READ")
        from node import pattern

        theirs = pattern(2, self.node.size).reshape(self.shape)
        assert (ours == theirs[self.order]).all(), f"{self.node.backend} READ"

    def end(self):
        self.process.end()


def figures(times):
    posting, whole = zip(*times)
    numbers = {"post_us": statistics.median(posting), "min_us": min(whole), "p50_us": statistics.median(whole)}
    return {name: round(value, 1) for name, value in numbers.items()}


def case(blocks, block, iterations, pause):
    sides = [Side(backend, blocks, block) for backend in BACKENDS]
    result = {"blocks": blocks, "block_size": block, "bytes": blocks * block, "iters": iterations, "pause_us": pause}
    for operation in ("WRITE", "READ"):
        times = {side.node.backend: [] for side in sides}
        for turn in range(iterations + 2):
            for side in sides if turn % 2 else reversed(sides):
                measured = side.iterate(operation, pause)
                # The first two touch pages and connect.
                if turn >= 2:
                    times[side.node.backend].append(measured)
        found = {backend: figures(measured) for backend, measured in times.items()}
        for name in ("min_us", "p50_us"):
            found[f"times_faster_{name[:-3]}"] = round(found["UCX"][name] / found["PMD"][name], 2)
        result[operation.lower()] = found
    result["making_us"] = {side.node.backend: round(side.making * 1e6, 1) for side in sides}
    for side in sides:
        side.verify()
        side.end()
    result["verified"] = True
    return result


def measure(iterations, pause):
    results = [case(blocks, block, iterations, pause) for blocks, block in CASES]
    load = os.getloadavg()[0]
    print(json.dumps({"nixl": os.environ["NIXL_RELEASE_MEASURED"], "load": round(load, 2), "cases": results}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--pause", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.folder is None:
        measure(arguments.iterations, arguments.pause)
        return
    # Only this part runs outside of the environment that has the wheels.
    import run

    folder = Path(arguments.folder).resolve()
    python = run.install(folder)
    # Beside UCX's, as one installs it: that one finds its libraries from there.
    plugins = folder / run.RELEASE / ".nixl_cu12.mesonpy.libs/plugins"
    run.run(run.HERE.parent / "build.sh", plugins, "release")
    variables = {**run.environment(folder, plugins, plugins), "NIXL_RELEASE_MEASURED": run.RELEASE}
    command = [python, Path(__file__).resolve(), "--iterations", str(arguments.iterations), "--pause", str(arguments.pause)]
    sys.exit(subprocess.run(command, env=variables).returncode)


if __name__ == "__main__":
    main()
