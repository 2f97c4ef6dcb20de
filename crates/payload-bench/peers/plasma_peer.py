"""Plasma: one arena in shared memory; pyarrow 11 is the last release that has it."""

import os
import subprocess
import sys
import tempfile
import time

import pyarrow.plasma as plasma

import work

SOURCE = os.urandom(work.LARGE)


def connect(socket):
    return plasma.connect(socket, num_retries=100)


def main():
    with tempfile.TemporaryDirectory() as directory:
        socket = os.path.join(directory, "plasma")
        command = [os.path.join(os.path.dirname(sys.executable), "plasma_store"), "-m", str(1 << 30), "-s", socket]
        store = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            measure(socket)
        finally:
            store.kill()
            store.wait()


def measure(socket):
    client = connect(socket)
    reader = work.Reader(socket)

    def put(size):
        name = plasma.ObjectID.from_random()
        room = client.create(name, size)
        # The fastest way in: one copy by the C library.
        memoryview(room).cast("B")[:] = memoryview(SOURCE)[:size]
        client.seal(name)
        return name

    def get(name):
        [buffer] = client.get_buffers([name])
        return memoryview(buffer)[0]

    def hand_over():
        name = plasma.ObjectID.from_random()
        room = client.create(name, work.LARGE)
        memoryview(room).cast("B")[0:1] = b"\x07"
        reader.ask(name.binary().hex())
        time.sleep(0.01)  # The reader waits for the seal by then.
        client.seal(name)
        sealed = time.monotonic_ns()
        took = max(0, int(reader.answer()) - sealed)
        client.delete([name])
        return took

    work.round_of(put, get, lambda name: client.delete([name]), hand_over)
    reader.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reader"]:
        reading = connect(sys.argv[2])
        work.answer_names(lambda name: memoryview(reading.get_buffers([plasma.ObjectID(bytes.fromhex(name))])[0])[0])
    else:
        main()
