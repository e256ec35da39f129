"""Writes values that are not the profile's, then tells what became of each: foreign.py PATH=VALUE...

Prints one JSON object: for each, by the keeper's audit log, what was found, who was named, how long after the write the
line is from (milliseconds), and in how many microseconds from seeing it the value was put back.
"""

import json
import sys
import time
from datetime import datetime

AUDIT = "/var/lib/quell/keeper/audit.log"
LOOKS = 600
PAUSE_S = 0.1


def drifts(begin):
    with open(AUDIT) as log:
        log.seek(begin)
        lines = [json.loads(line) for line in log if line.endswith("\n")]
    return [line for line in lines if line["event"] == "drift" and line["deed"] == "repaired"]


def main():
    writes = [argument.split("=") for argument in sys.argv[1:]]
    with open(AUDIT) as log:
        begin = log.seek(0, 2)
    at = {}
    for path, value in writes:
        at[value] = time.time()
        with open(path, "w") as file:
            file.write(value)
    for _ in range(LOOKS):
        # Of a limit with two forms: "ratio 33".
        told = {line["found"].split()[-1]: line for line in drifts(begin)}
        if all(value in told for value in at):
            break
        time.sleep(PAUSE_S)
    rows = []
    for value, line in told.items():
        if value in at:
            seen = datetime.fromisoformat(line["at"].replace("Z", "+00:00")).timestamp()
            row = {key: line.get(key) for key in ("knob", "attribute", "found", "comm", "repaired_in_us")}
            rows.append({**row, "told_after_ms": round((seen - at[value]) * 1000)})
    print(json.dumps({"schema": "lab.foreign/1", "repairs": rows}))


main()
