"""Redis: bytes go through the server and its socket; no persistence."""

import os
import subprocess
import sys
import tempfile
import time

import redis

import work

SOURCE = os.urandom(work.LARGE)


def main():
    with tempfile.TemporaryDirectory() as directory:
        socket = os.path.join(directory, "redis")
        command = ["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no"]
        store = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=directory)
        try:
            while not os.path.exists(socket):
                time.sleep(0.01)
            measure(socket)
        finally:
            store.kill()
            store.wait()


def measure(socket):
    client = redis.Redis(unix_socket_path=socket)
    reader = work.Reader(socket)
    count = iter(range(1 << 30))

    def put(size):
        name = f"object {next(count)}"
        client.set(name, memoryview(SOURCE)[:size])
        return name

    def hand_over():
        name = f"list {next(count)}"
        reader.ask(name)
        time.sleep(0.01)  # The reader waits by then.
        client.rpush(name, SOURCE)
        pushed = time.monotonic_ns()
        return max(0, int(reader.answer()) - pushed)

    work.round_of(put, lambda name: client.get(name)[0], client.delete, hand_over)
    reader.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reader"]:
        reading = redis.Redis(unix_socket_path=sys.argv[2])
        work.answer_names(lambda name: reading.blpop(name)[1][0])
    else:
        main()
