"""Counts what disturbs CPUs, and how much of it is quell's: count.py SECONDS CPU...

Context switches on these CPUs to or from a thread of quell's units, interrupts between processors that arrive there, and
those that a thread of quell's sent there (not an interrupt on its CPU). Prints one JSON object. A thread counts as quell's when it is in one of the
units' control groups at the beginning or at the end.
"""

import json
import os
import re
import sys
import time

TRACING = "/sys/kernel/tracing"
INSTANCE = TRACING + "/instances/quell-count"
ARRIVALS = ["reschedule_entry", "call_function_entry", "call_function_single_entry", "irq_work_entry"]
SENDS = ["ipi_send_cpu", "ipi_send_cpumask"]
# Format: "quell-keeper-412     [001] d..2.  61.123456: sched_switch: prev_comm=... ==> next_comm=..."
# The third flag is h, H, s, Z or z in an interrupt, and a dot where the thread itself is at work
# (Documentation/trace/ftrace.rst).
LINE = re.compile(r"^\s*(.*)-(\d+)\s+\[(\d+)\]\s+..(.)\S+\s+[\d.]+: (\w+): (.*)$")
BUFFER_KIB = 16384


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def ours():
    threads = set()
    for place, _, files in os.walk("/sys/fs/cgroup"):
        if "/quell-" in place and "cgroup.threads" in files:
            threads.update(open(place + "/cgroup.threads").read().split())
    return threads


def enable(name):
    for group in ("sched", "irq_vectors", "ipi"):
        path = f"{INSTANCE}/events/{group}/{name}/enable"
        if os.path.exists(path):
            write(path, "1")
            return True
    return False


def targets(fields):
    """The CPUs that an ipi_send event names: "cpu=2 callsite=..." or, in hexadecimal, "cpumask=00000000,0000000c ..."."""
    one, several = re.search(r"\bcpu=(\d+)", fields), re.search(r"\bcpumask=([0-9a-f,]+)", fields)
    if one:
        return {int(one[1])}
    mask = int(several[1].replace(",", ""), 16) if several else 0
    return {cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1}


def main():
    seconds, cpus = float(sys.argv[1]), {int(cpu) for cpu in sys.argv[2:]}
    os.makedirs(INSTANCE)
    try:
        write(INSTANCE + "/buffer_size_kb", str(BUFFER_KIB))
        events = [name for name in ["sched_switch"] + ARRIVALS + SENDS if enable(name)]
        # The counter's own changes of its buffers are over now.
        write(INSTANCE + "/tracing_on", "0")
        write(INSTANCE + "/trace", "")
        threads = ours()
        write(INSTANCE + "/tracing_on", "1")
        time.sleep(seconds)
        write(INSTANCE + "/tracing_on", "0")
        threads |= ours()
        print(json.dumps(count(cpus, threads, events, seconds)))
    finally:
        os.rmdir(INSTANCE)


def count(cpus, threads, events, seconds):
    result = {"schema": "lab.count/1", "seconds": seconds, "events": events, "threads_of_quell": len(threads)}
    result.update(switches=0, switches_by_quell=0, arrivals=0, sent=0, sent_by_quell=0, lost=0, others={}, quell={})
    for line in open(INSTANCE + "/trace", errors="replace"):
        if line.startswith("CPU:") and "LOST" in line:
            result["lost"] += 1
        match = LINE.match(line)
        if not match:
            continue
        pid, cpu, is_thread, event, fields = match[2], int(match[3]), match[4] == ".", match[5], match[6]
        if event == "sched_switch" and cpu in cpus:
            pids = set(re.findall(r"(?:prev|next)_pid=(\d+)", fields))
            result["switches"] += 1
            is_ours = bool(pids & threads)
            result["switches_by_quell"] += is_ours
            name = re.search(r"next_comm=(.*) next_pid", fields)
            note(result["quell" if is_ours else "others"], "switch to " + (name[1] if name else "?"))
        elif event in ARRIVALS and cpu in cpus:
            result["arrivals"] += 1
            note(result["others"], event)
        elif event in SENDS and targets(fields) & cpus:
            # An interrupt that came while a thread of ours ran sends for whoever armed it.
            is_ours = is_thread and pid in threads
            result["sent"] += 1
            result["sent_by_quell"] += is_ours
            callback = re.search(r"callback=(\S+)", fields)
            note(result["quell" if is_ours else "others"], f"{event} by {match[1] if is_thread else 'an interrupt'} {callback[1] if callback else ''}".strip())
    return result


def note(where, what):
    where[what] = where.get(what, 0) + 1


main()
