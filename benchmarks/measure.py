"""CPU time and peak memory of whole processes, and CPU time of calls."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """Median CPU seconds (user and system) of several runs, and peak resident MiB of one."""

    cpu: float
    memory: float


def processes(commands: dict[str, Sequence[str]], runs: int) -> dict[str, Process]:
    """Runs the commands in turn, ``runs`` times after one warm-up; all must exit with 0 or 1.

    Memory is sampled in the warm-up run (Linux only, else NaN), CPU time is of the others.
    """
    peaks: dict[str, float] = {}
    samples: dict[str, list[float]] = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if not run:
                peaks[name] = _peak(child.pid)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode not in (0, 1):
                raise SystemExit(f"{name} failed with exit code {child.returncode}")
            if run:
                samples[name].append(usage.ru_utime + usage.ru_stime)
    return {name: Process(statistics.median(samples[name]), peaks[name]) for name in commands}


def _peak(pid: int) -> float:
    """The peak resident MiB of a running process, sampled until it ends.

    The figure of wait4() would include the memory of this process before exec().
    """
    peak = float("nan")
    status = Path(f"/proc/{pid}/status")
    while True:
        try:
            text = status.read_text(encoding="ascii", errors="replace")
        except OSError:
            return peak
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        if found is None:
            return peak  # a zombie, or no Linux
        peak = int(found.group(1)) / 1024
        time.sleep(0.0005)


def cpu_of(call: Callable[[], object], runs: int) -> float:
    """The median CPU seconds of a call in this process, after one warm-up."""
    found = []
    for run in range(runs + 1):
        before = time.process_time()
        call()
        if run:
            found.append(time.process_time() - before)
    return statistics.median(found)


def wall_of(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median wall seconds of each call, made in turn, after one warm-up."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            before = time.perf_counter()
            call()
            if run:
                found[name].append(time.perf_counter() - before)
    return {name: statistics.median(samples) for name, samples in found.items()}
