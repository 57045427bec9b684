"""This driver over TCP beside iperf3, UCX's TCP transport and Mooncake's transfer engine, in turns between the same two hosts.

    compare.py FOLDER [--rounds N] [--seconds N]

As root, on an idle machine: two network namespaces with a pair of veth devices (`hosts between`). iperf3 and ucx-utils are
installed by apt, Mooncake's wheel without CUDA by pip into FOLDER. The last line of output is JSON: medians over the rounds, and ratios,
of which more than 1 means that this driver is ahead. Bandwidth in 10^9 bytes a second, times in microseconds. Whatever cannot
be had is left out and said.

Kinds of times are compared with their like: half of a round trip with UCX's put and active messages of 8 bytes, from post
to completion with Mooncake's synchronous read of 8 bytes. Every program polls as it does by itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PORT = 7900
LARGE = 4 << 20
LIMIT = 120


def command(host, *words, **options):
    """A command in one of the hosts."""
    return dict(args=["ip", "netns", "exec", os.environ[f"HOST_{host}"], *map(str, words)], text=True, **options)


class Server:
    """A process on host 0 while it is needed."""

    def __init__(self, *words, **options):
        self.process = subprocess.Popen(**command(0, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def client(*words, **options):
    """What a process on host 1 writes."""
    return subprocess.run(**command(1, *words, check=True, capture_output=True, timeout=LIMIT, **options)).stdout


def listens(port):
    """Waits until somebody on host 0 listens there."""
    deadline = time.monotonic() + LIMIT
    while f":{port} " not in subprocess.run(**command(0, "ss", "-Hltn", capture_output=True)).stdout:
        assert time.monotonic() < deadline, f"nobody listens on port {port}"
        time.sleep(0.02)


def ours(programs, test, *more):
    address = f"{os.environ['ADDRESS_0']}:{PORT}"
    with Server(programs / "pmd", "perf", "--listen", address):
        listens(PORT)
        said = client(programs / "pmd", "perf", test, "--connect", address, "--transport", "tcp", "--json", *more)
    figures = json.loads(said.splitlines()[-1])
    assert figures["verified"] is True, figures
    return figures


def iperf3(seconds, streams):
    with Server("iperf3", "-s", "-p", PORT + 1):
        listens(PORT + 1)
        said = client("iperf3", "-c", os.environ["ADDRESS_0"], "-p", PORT + 1, "-t", seconds, "-P", streams, "-J")
    return json.loads(said)["end"]["sum_received"]["bits_per_second"] / 8e9


def ucx(test, size, iterations):
    environment = {**os.environ, "UCX_TLS": "tcp", "UCX_NET_DEVICES": "pmd0", "UCX_WARN_UNUSED_ENV_VARS": "n"}
    words = ["-p", PORT + 2, "-t", test, "-s", size, "-n", iterations, "-f"]
    with Server("ucx_perftest", *words, env=environment):
        listens(PORT + 2)
        said = client("ucx_perftest", os.environ["ADDRESS_0"], *words, env=environment)
    fields = [line.split() for line in said.splitlines() if "Final:" in line or line.strip().startswith("Final")]
    numbers = [float(field) for field in (fields[-1] if fields else said.split()) if field.replace(".", "").isdigit()]
    # Iterations, then the median or typical time, then average and overall ones; then MB/s twice, messages/s twice.
    return numbers


def engine(address):
    from mooncake.engine import TransferEngine

    made = TransferEngine()
    assert made.initialize(address, "P2PHANDSHAKE", "tcp", "") == 0
    return made


def buffer(made, size):
    import ctypes

    memory = ctypes.create_string_buffer(size)
    assert made.register_memory(ctypes.addressof(memory), size) == 0
    return memory, ctypes.addressof(memory)


def mooncake_serve():
    """On host 0: a buffer, and where it is."""
    made = engine(os.environ["ADDRESS_0"])
    memory, address = buffer(made, 64 << 20)
    memory[: 64 << 20] = b"\x5a" * (64 << 20)
    print("AT", f"{os.environ['ADDRESS_0']}:{made.get_rpc_port()}", address, flush=True)
    sys.stdin.read()


def mooncake_read(target, remote, seconds):
    """On host 1: times of small reads, and the rate of large ones, which are looked at."""
    made = engine(os.environ["ADDRESS_1"])
    memory, local = buffer(made, 64 << 20)
    times, opened = [], time.perf_counter()
    # At least so many; where each takes long, no more than there is time for.
    while len(times) < 20 or len(times) < 5000 and time.perf_counter() - opened < float(seconds):
        begun = time.perf_counter()
        assert made.transfer_sync_read(target, local, int(remote), 8) == 0
        times.append((time.perf_counter() - begun) * 1e6)
    begun, moved = time.perf_counter(), 0
    while time.perf_counter() - begun < float(seconds):
        assert made.transfer_sync_read(target, local, int(remote), 64 << 20) == 0
        moved += 64 << 20
    rate = moved / (time.perf_counter() - begun) / 1e9
    assert memory.raw == b"\x5a" * (64 << 20)
    print(json.dumps({"read_us": statistics.median(times[len(times) // 10 :]), "gbps": rate}), flush=True)
    # Its threads do not always end by themselves.
    os._exit(0)


def mooncake(python, seconds):
    this = Path(__file__).resolve()
    with Server(python, this, "mooncake-serve", stderr=subprocess.DEVNULL) as server:
        line = next(line for line in server.process.stdout if line.startswith("AT "))
        _, target, remote = line.split()
        said = client(python, this, "mooncake-read", target, remote, seconds)
    return json.loads(said.splitlines()[-1])


def attempt(what, measure, missing):
    """The figure, or None, with the reason said once."""
    if what in missing:
        return None
    try:
        return measure()
    except Exception as error:  # whatever another's program does is no reason to measure nothing
        detail = getattr(error, "stderr", None) or error
        missing[what] = str(detail).strip().splitlines()[-1:] or [type(error).__name__]
        return None


def rounds(programs, python, count, seconds):
    missing, found = {}, {}

    def keep(name, value):
        if value is not None:
            found.setdefault(name, []).append(value)

    large = ["--size", LARGE, "--footprint", "64M", "--iters", 500 * seconds]
    bandwidth = lambda test: ours(programs, test, *large)["gbps"]
    for _ in range(count):
        keep("write_gbps", bandwidth("write_bw"))
        for streams in (1, 2):
            keep(f"iperf3_{streams}_gbps", attempt("iperf3", lambda: iperf3(seconds, streams), missing))
        keep("read_gbps", bandwidth("read_bw"))
        other = attempt("mooncake", lambda: mooncake(python, seconds), missing) or {}
        keep("mooncake_read_gbps", other.get("gbps"))
        keep("mooncake_read_us", other.get("read_us"))
        keep("read_us", ours(programs, "read_lat")["p50_us"])
        for name, theirs in (("write", "ucp_put_lat"), ("send", "ucp_am_lat")):
            keep(f"{name}_us", ours(programs, f"{name}_lat")["p50_us"])
            numbers = attempt("ucx", lambda: ucx(theirs, 8, 20000), missing)
            keep(f"ucx_{theirs}_us", numbers and numbers[1])
    return {name: round(statistics.median(values), 3) for name, values in found.items()}, missing


def ratios(found):
    """More than 1: this driver is ahead."""
    faster = [("write_gbps", "iperf3_1_gbps"), ("write_gbps", "iperf3_2_gbps"), ("read_gbps", "mooncake_read_gbps")]
    sooner = [("write_us", "ucx_ucp_put_lat_us"), ("send_us", "ucx_ucp_am_lat_us"), ("read_us", "mooncake_read_us")]
    both = [(ours, theirs, lambda a, b: a / b) for ours, theirs in faster]
    both += [(ours, theirs, lambda a, b: b / a) for ours, theirs in sooner]
    known = [pair for pair in both if pair[0] in found and pair[1] in found]
    return {f"{ours} to {theirs}": round(ratio(found[ours], found[theirs]), 2) for ours, theirs, ratio in known}


def measure(arguments):
    programs, python = Path(arguments.programs), arguments.folder / "venv/bin/python"
    found, missing = rounds(programs, python, arguments.rounds, arguments.seconds)
    load = round(os.getloadavg()[0], 2)
    print(json.dumps({"figures": found, "ratios": ratios(found), "missing": missing, "rounds": arguments.rounds, "load": load}))


def install(folder):
    """What is measured against; what cannot be had is found missing later."""
    subprocess.run(["apt-get", "install", "--yes", "--no-install-recommends", "iperf3", "ucx-utils", "iproute2"], check=False)
    if not (folder / "venv/bin/python").exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "mooncake-transfer-engine-non-cuda"]
    subprocess.run(pip, check=False)


def main():
    if sys.argv[1:2] == ["mooncake-serve"]:
        return mooncake_serve()
    if sys.argv[1:2] == ["mooncake-read"]:
        return mooncake_read(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--programs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.programs:
        return measure(arguments)
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install(folder)
    build = ["cargo", "build", "--release", "-p", "hosts", "-p", "pmd-tools"]
    subprocess.run(build, cwd=ROOT, check=True)
    programs = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"
    again = [sys.executable, Path(__file__).resolve(), folder, "--programs", programs]
    again += ["--rounds", str(arguments.rounds), "--seconds", str(arguments.seconds)]
    return subprocess.run([programs / "hosts", "between", "--", *again], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
