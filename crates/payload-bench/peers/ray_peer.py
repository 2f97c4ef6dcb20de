"""Ray: its object store through the Python API, which is the only one for programs."""

import os
import time

import numpy
import ray

import work

SOURCE = numpy.frombuffer(os.urandom(work.LARGE), dtype=numpy.uint8)


@ray.remote(num_cpus=0)
class Reader:
    def read(self, array):
        assert array[0] >= 0
        return time.monotonic_ns()


def main():
    ray.init(num_cpus=1, object_store_memory=1 << 30, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    reader = Reader.remote()
    ray.get(reader.read.remote(SOURCE[:1]))

    def put(size):
        return ray.put(SOURCE[:size])

    def hand_over():
        name = put(work.LARGE)
        sealed = time.monotonic_ns()
        return ray.get(reader.read.remote(name)) - sealed

    # An object goes when nothing refers to it any more.
    work.round_of(put, lambda name: ray.get(name)[0], lambda name: None, hand_over)
    ray.shutdown()


if __name__ == "__main__":
    main()
