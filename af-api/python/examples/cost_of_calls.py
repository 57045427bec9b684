"""What calls of this package take: a worker and a server in one process, 8 bytes each way.

    python cost_of_calls.py [ROUNDS]

Prints medians; every answer is compared.
"""

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pmd_af

PATIENCE = 20.0
PASSES = 9


class Plain:
    """A getter that is Python's own: what is above it is the package's."""

    def __init__(self):
        self.value = 1

    @property
    def tag(self):
        return self.value


def each(call, count):
    """Nanoseconds of a call that takes no system call, without the loop around it."""

    def once(called):
        start = time.perf_counter_ns()
        for _ in range(count):
            called()
        return (time.perf_counter_ns() - start) / count

    return statistics.median(once(call) - once(lambda: None) for _ in range(PASSES))


def push_pulls(worker, server, rounds):
    """Microseconds of the call that submits, of the call that answers, and of the whole; and the last two objects."""
    pushed, pulled, answer = bytearray(8), bytearray(8), bytearray(8)
    times = []
    for number in range(rounds):
        pushed[:], answer[:] = number.to_bytes(8, "little"), (~number % 2**64).to_bytes(8, "little")
        begun = time.perf_counter_ns()
        pending = worker.push_pull([(7, pushed)], [(8, pulled)], timeout=PATIENCE)
        submitted = time.perf_counter_ns()
        (request,) = server.get_batch(timeout=PATIENCE)
        taken = time.perf_counter_ns()
        answered = request.respond([answer])
        responded = time.perf_counter_ns()
        pending.wait(PATIENCE)
        times.append((submitted - begun, responded - taken, time.perf_counter_ns() - begun))
        answered.wait(PATIENCE)
        assert pulled == answer
    return [statistics.median(column) / 1e3 for column in zip(*times)], pending, request


def main(rounds):
    shape = {"workers": 1, "servers": 1, "start_timeout": PATIENCE}
    with pmd_af.Scheduler(scheduler="127.0.0.1:0", **shape) as scheduler, ThreadPoolExecutor(1) as pool:
        place = {"scheduler": scheduler.address, "rank": 0, **shape}
        server = pool.submit(pmd_af.Server, listen="127.0.0.1:0", **place)
        with pmd_af.Worker(**place) as worker, server.result() as server:
            push_pulls(worker, server, 1)
            (submit, respond, whole), pending, request = push_pulls(worker, server, rounds)
            plain = Plain()
            print(f"a getter of Python's own: {each(lambda: plain.tag, 10 * rounds):.0f} ns")
            print(f"Request.tag: {each(lambda: request.tag, 10 * rounds):.0f} ns")
            print(f"done(): {each(pending.done, 10 * rounds):.0f} ns")
            print(f"push_pull(): {submit:.1f} us, respond(): {respond:.1f} us, there and back: {whole:.1f} us")
    print(f"ok: {rounds} answers are right")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
