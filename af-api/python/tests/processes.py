"""Clusters of processes, each running a script; none is left behind."""

import contextlib
import os
import socket
import subprocess
import sys

LIMIT = 60


def free_port():
    """A port that nobody listens on, below those that the system gives to others."""
    for port in range(24000 + os.getpid() % 40 * 100, 32000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


class Processes:
    """Started scripts. Those that still run at the end are killed."""

    def __init__(self):
        self.started = []

    def start(self, *arguments, **variables):
        """A script with arguments, or `-c` and a program, with variables of the environment."""
        environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
        command = [sys.executable, "-B", *map(str, arguments)]
        program = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(program)
        return program

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self.started:
            program.kill()
            program.wait()
            program.stdin.close()
            program.stdout.close()


def until(program, line):
    """Reads what a program says up to a line that begins so; the line."""
    said = []
    for text in program.stdout:
        said.append(text)
        if text.startswith(line):
            return text.strip()
    raise AssertionError(f"never said {line!r}: {''.join(said)}")


def finished(*programs):
    """What each program said, once it has ended well."""
    outputs = []
    for program in programs:
        output, _ = program.communicate(timeout=LIMIT)
        outputs.append(output)
        if program.returncode != 0:
            raise AssertionError("".join(outputs) + said_by_others(programs[len(outputs) :]))
    return outputs


def said_by_others(programs):
    """What programs said until they are killed."""
    for program in programs:
        program.kill()
    return "".join(program.communicate()[0] for program in programs)
