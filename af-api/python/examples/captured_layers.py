"""A layer in CUDA graphs: both sides capture it once and launch it for every token, and no processor is asked in between.

    python captured_layers.py scheduler 27000
    python captured_layers.py server 27000 cuda:0
    python captured_layers.py worker 27000 cuda:0

The worker's graph pushes the states of a token, pulls what the server makes of them, and takes that for the next token. The
server's graph takes the states, computes (here: it copies two parts into each other's place) and answers. The last states
are checked. With PyTorch the captures are `torch.cuda.graph`, and a stream is `torch.cuda.current_stream().cuda_stream`.
"""

import ctypes
import sys

import numpy as np

import pmd_af

TOKENS, HIDDEN, SHIFT = 64, 4096, 100
KEY = 7
SHAPE = {"workers": 1, "servers": 1, "start_timeout": 30}
PATIENCE = 30.0


class Stream:
    """A stream of device 0, captured and launched by functions of the CUDA driver: what a framework does for its users."""

    def __init__(self):
        self.driver = ctypes.CDLL("libcuda.so.1")
        context, self.handle = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxPushCurrent_v2", context)
        self.call("cuStreamCreate", ctypes.byref(self.handle), 1)

    def call(self, name, *arguments):
        code = getattr(self.driver, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name}: {code}")

    def capture(self, put):
        """A graph of what a function gives to the stream."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", self.handle, 1)
        put()
        self.call("cuStreamEndCapture", self.handle, ctypes.byref(graph))
        self.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        self.call("cuGraphDestroy", graph)
        return executable

    def launch(self, graph):
        self.call("cuGraphLaunch", graph, self.handle)

    def copy(self, target, source, count):
        """Copies so many numbers from one address to another."""
        target, source = ctypes.c_ulonglong(target), ctypes.c_ulonglong(source)
        self.call("cuMemcpyAsync", target, source, ctypes.c_size_t(4 * count), self.handle)

    def close(self, graph):
        """Waits for the launches, and destroys the graph: before the node that serves it."""
        self.call("cuStreamSynchronize", self.handle)
        self.call("cuGraphExecDestroy", graph)


def scheduler(address):
    with pmd_af.Scheduler(scheduler=address, **SHAPE) as cluster:
        cluster.wait_finished(60)
        print("ok: everybody has come and gone")


def serve(address, device):
    with pmd_af.Server(scheduler=address, rank=0, listen="127.0.0.1:0", accelerators=device, **SHAPE) as server:
        received, answer = (server.allocate((HIDDEN,), device=True) for _ in range(2))
        server.offer(received, [(0, KEY)])
        server.node.barrier("offered", timeout=PATIENCE)
        # What is done for the first time may make a device wait for its streams: not those that wait for an exchange.
        (request,) = server.get_batch(timeout=PATIENCE)
        request.respond([answer]).wait(PATIENCE)
        service, stream = server.capture([(0, [(KEY, received)], [answer])], timeout=PATIENCE), Stream()

        def layer():
            service.put_batch(stream.handle.value)
            stream.copy(answer.address, received.address + 4 * SHIFT, HIDDEN - SHIFT)
            stream.copy(answer.address + 4 * (HIDDEN - SHIFT), received.address, SHIFT)
            service.put_responses(stream.handle.value)

        graph = stream.capture(layer)
        for _ in range(TOKENS):
            stream.launch(graph)
        service.wait(TOKENS, PATIENCE)
        stream.close(graph)
        print(f"ok: {service.check()} launches have answered")
        server.node.barrier("done", timeout=PATIENCE)


def ask(address, device):
    with pmd_af.Worker(scheduler=address, rank=0, accelerators=device, **SHAPE) as worker:
        states, back = (worker.allocate((HIDDEN,), device=True) for _ in range(2))
        worker.node.barrier("offered", timeout=PATIENCE)
        worker.push_pull({KEY: states}, {KEY: back}, timeout=PATIENCE).wait(PATIENCE)
        exchange, stream = worker.capture({KEY: states}, {KEY: back}, timeout=PATIENCE), Stream()

        def layer():
            exchange.put(stream.handle.value)
            stream.copy(states.address, back.address, HIDDEN)

        graph, first = stream.capture(layer), np.arange(HIDDEN, dtype=np.float32)
        states.copy_from(first)
        for _ in range(TOKENS):
            stream.launch(graph)
        stream.close(graph)
        assert exchange.check() == TOKENS
        last = np.frombuffer(states.tobytes(), np.float32)
        assert (last == np.roll(first, -SHIFT * TOKENS)).all()
        print(f"ok: {TOKENS} tokens have gone through both graphs")
        worker.node.barrier("done", timeout=PATIENCE)


if __name__ == "__main__":
    role, address = sys.argv[1], f"127.0.0.1:{sys.argv[2]}"
    if role == "scheduler":
        scheduler(address)
    else:
        {"server": serve, "worker": ask}[role](address, sys.argv[3])
