"""The work that every peer is given, so that all do the same: what to do how often, how to time it, how to report it."""

import json
import subprocess
import sys
import time

SMALL = 4 << 10
LARGE = 64 << 20
MEASURED = {
    "put 4 KiB": 300,
    "get 4 KiB": 1000,
    "put 64 MiB": 8,
    "get 64 MiB": 20,
    "hand over 64 MiB": 10,
}


def round_of(put, get, drop, hand_over):
    """One round in a store that is fresh. `put(size)` makes an object and returns its name, `get(name)` looks at its
    first byte and lets it go, `drop(name)` frees it, `hand_over()` returns the nanoseconds from sealed to read."""
    micros = {}

    def measure(what, once, after=lambda result: None):
        micros[what] = []
        for _ in range(MEASURED.get(what, 1)):
            began = time.perf_counter_ns()
            result = once()
            micros[what].append((time.perf_counter_ns() - began) / 1e3)
            after(result)

    measure("put 64 MiB, first", lambda: put(LARGE), drop)
    measure("put 64 MiB", lambda: put(LARGE), drop)
    large = put(LARGE)
    get(large)
    measure("get 64 MiB", lambda: get(large))
    drop(large)
    measure("put 4 KiB", lambda: put(SMALL), drop)
    small = put(SMALL)
    get(small)
    measure("get 4 KiB", lambda: get(small))
    micros["hand over 64 MiB"] = [hand_over() / 1e3 for _ in range(MEASURED["hand over 64 MiB"])]
    print(json.dumps(micros))


class Reader:
    """This script once more, in another process: it is told a name on its input, and says when it has read a byte."""

    def __init__(self, *arguments):
        command = [sys.executable, sys.argv[0], "--reader", *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answer()

    def ask(self, name):
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()

    def answer(self):
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def answer_names(read):
    """The reader's main: `read(name)` returns once it has seen the first byte."""
    print("ready", flush=True)
    for line in sys.stdin:
        read(line.strip())
        print(time.monotonic_ns(), flush=True)
