"""Vineyard: an arena in shared memory; blobs through its Python client, whose calls are C++."""

import os
import subprocess
import sys
import tempfile
import time

import vineyard

import work

SOURCE = os.urandom(work.LARGE)


def main():
    with tempfile.TemporaryDirectory() as directory:
        socket = os.path.join(directory, "vineyard")
        command = [sys.executable, "-m", "vineyard", "--size", "1Gi", "--socket", socket, "--meta", "local"]
        store = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            measure(socket)
        finally:
            os.killpg(store.pid, 9)
            store.wait()


def connect(socket):
    for _ in range(1000):
        try:
            return vineyard.connect(socket)
        except Exception:
            time.sleep(0.01)
    raise SystemExit("vineyard did not start")


def measure(socket):
    client = connect(socket)
    reader = work.Reader(socket)

    def put(size):
        room = client.create_blob(size)
        room.copy(0, SOURCE[:size] if size < work.LARGE else SOURCE)
        return room.seal(client).id

    def hand_over():
        name = put(work.LARGE)
        sealed = time.monotonic_ns()
        # Names are given at the seal, so the reader cannot wait for one.
        reader.ask(repr(name))
        took = int(reader.answer()) - sealed
        client.delete([name])
        return took

    get = lambda name: memoryview(client.get_blob(name))[0]
    work.round_of(put, get, lambda name: client.delete([name]), hand_over)
    reader.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--reader"]:
        reading = connect(sys.argv[2])
        work.answer_names(lambda name: memoryview(reading.get_blob(vineyard.ObjectID(name)))[0])
    else:
        main()
