"""Disturbs a CPU on purpose: disturb.py CPU HOME INSIDE OUTSIDE

A process in the control group INSIDE, which has CPU, wakes up there again and again; another in OUTSIDE sends it signals
from HOME, each of which the kernel passes on by an interrupt to CPU while the first is running. Ends with its parent.
"""

import ctypes
import os
import signal
import sys
import time

CPU, HOME, INSIDE, OUTSIDE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
SET_PDEATHSIG = 1  # linux/prctl.h


def enter(group, cpu):
    os.makedirs(group, exist_ok=True)
    with open(group + "/cgroup.procs", "w") as file:
        file.write("0")
    os.sched_setaffinity(0, {cpu})


def wake_up():
    signal.signal(signal.SIGUSR1, lambda *_: None)
    ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL)
    enter(INSIDE, CPU)
    while True:
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass  # who sleeps is woken up, which is another thing
        time.sleep(0.002)


signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the child has its handler
child = os.fork()
if child == 0:
    wake_up()
enter(OUTSIDE, HOME)
while True:
    os.kill(child, signal.SIGUSR1)
    time.sleep(0.01)
