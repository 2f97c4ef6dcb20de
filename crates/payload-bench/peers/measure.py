#!/usr/bin/env python3
"""Gives the same work to Payload Manager and to other stores, in turn, and prints what each took.

Installs what it needs with pip into virtual environments in a directory of its own; redis-server must be installed. A
peer that cannot be installed or started is left out, and the reason is printed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = {
    "Plasma": ("plasma_peer.py", ["pyarrow==11.0.0", "numpy<2"]),
    "Vineyard": ("vineyard_peer.py", ["vineyard", "numpy<2", "pandas", "pyarrow<20", "setuptools<80"]),
    "Ray": ("ray_peer.py", ["ray", "numpy"]),
    "Redis": ("redis_peer.py", ["redis"]),
}
OURS = "Payload Manager"
ROUND_TIMEOUT = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", default="target/release/payload-bench", help="the release build of payload-bench")
    parser.add_argument("--dir", default="target/peers", help="where the peers are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    commands = {OURS: [os.path.abspath(options.bench), "peer"]}
    for name, (script, packages) in PEERS.items():
        python = install(os.path.join(os.path.abspath(options.dir), name.lower()), name, packages)
        if python:
            commands[name] = [python, os.path.join(HERE, script)]

    machine, rounds = {}, {name: [] for name in commands}
    for _ in range(options.rounds):
        for name, command in list(commands.items()):
            result = run(name, command)
            if result is None:
                del commands[name], rounds[name]
                continue
            machine = result.get("machine", machine)
            rounds[name].append(result.get("micros", result))
    figures = [figure(name, what, rounds[name]) for name in rounds for what in rounds[name][0]]
    if options.json:
        print(json.dumps({"machine": machine, "rounds": options.rounds, "figures": figures}, indent=2))
    else:
        table(figures)


def install(directory, name, packages):
    python = os.path.join(directory, "bin", "python")
    if not os.path.exists(python):
        venv.create(directory, with_pip=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    done = subprocess.run(pip + packages, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"{name} is left out: {last_line(done.stderr)}", file=sys.stderr)
        return None
    return python


def run(name, command):
    """One round; None if there is no result."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ROUND_TIMEOUT)
        return json.loads(last_line(done.stdout)) if done.returncode == 0 else leave_out(name, last_line(done.stderr))
    except (subprocess.TimeoutExpired, ValueError) as error:
        return leave_out(name, error)


def leave_out(name, reason):
    print(f"{name} is left out: {reason}", file=sys.stderr)


def last_line(text):
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def figure(name, what, rounds):
    medians = [statistics.median(one[what]) for one in rounds]
    everything = sorted(micros for one in rounds for micros in one[what])
    return {
        "subject": name,
        "case": what,
        "p50_us": statistics.median(medians),
        "p99_us": everything[min(len(everything) - 1, len(everything) * 99 // 100)],
        "spread_us": [min(medians), max(medians)],
    }


def table(figures):
    subjects = list(dict.fromkeys(figure["subject"] for figure in figures))
    print(f"{'p50, µs':20}" + "".join(f"{subject:>24}" for subject in subjects))
    for what in dict.fromkeys(figure["case"] for figure in figures):
        row = {figure["subject"]: figure for figure in figures if figure["case"] == what}
        cells = [f"{row[s]['p50_us']:.1f} ({row[s]['spread_us'][0]:.0f}–{row[s]['spread_us'][1]:.0f})" for s in subjects]
        print(f"{what:20}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    main()
