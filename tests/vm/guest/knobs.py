"""Applies one knob's settings, each for itself, takes each back, and compares every setting of the machine to the byte.

knobs.py KNOB, with the registry as `quell tune explain --json` prints it on standard input. Prints one JSON object: each
attribute with the value that was tried, or why none could be; `differs` is what was not as before afterwards. A value is
tried when `quell tune plan` would change something with it, so that every kind has some to choose from.
"""

import glob
import json
import re
import shutil
import subprocess
import sys
import time

import snapshot

PROFILE = "/root/knob.toml"
STATE = "/var/lib/quell-knobs"
PLACES = snapshot.PLACES[3:] + ["/proc/sys", "/sys/module"] + glob.glob("/sys/block/*/queue") + glob.glob("/sys/class/net/*/queues")
NUMBERS = [0, 1, 2, 4, 7, 10, 33, 77, 100, 500, 1000, 5000, 100000, 1000000]
CPUS = ['"housekeeping"', '"isolated"', '"0-1"']
INTERFACES = ['"devices"']
# How often what the kernel does in its own time is waited for, half a second each.
LOOKS = 20
NO_CHANGE, CHANGES = 0, 10
GOOD = ("ok", "pending", "not-applicable")


def values(kind):
    """What a profile may say of an attribute of this kind; None for a kind nobody has taught us."""
    numbers = re.match(r"integer, (-?\d+) to (\d+)", kind)
    if numbers:
        low, high = int(numbers[1]), int(numbers[2])
        return [str(n) for n in dict.fromkeys([low, low + 1] + NUMBERS) if low <= n <= high]
    if kind.startswith("one of "):
        return [f'"{word}"' for word in kind[7:].split(", ")]
    if kind == "true or false":
        return ["true", "false"]
    if kind.startswith("CPUs"):
        return CPUS
    if kind.startswith("network interfaces"):
        return INTERFACES
    count = re.match(r"(\d+) numbers", kind)
    if count:
        return ['"' + " ".join(str(4096 * (i + 2)) for i in range(int(count[1]))) + '"']
    if kind.startswith("a number a memory node"):
        return ["{ node0 = 4 }", "{ node0 = 1 }"]
    if kind.startswith("microseconds"):
        return ["0", "10", '"any"']
    return None


def tune(*words):
    done = subprocess.run(["quell", "tune", *words, "--state-dir", STATE, "--json"], capture_output=True, text=True)
    try:
        return done.returncode, json.loads(done.stdout), done.stderr.strip()
    except ValueError:
        return done.returncode, {}, (done.stderr or done.stdout).strip()


def write(knob, settings):
    inside = ", ".join(f'"{name}" = {value}' for name, value in settings.items())
    with open(PROFILE, "w") as file:
        file.write(f'schema = "quell.profile/1"\n[cpus]\nisolated = "2-3"\n[knobs]\n"{knob}" = {{ {inside} }}\n')


def companions(knob, name):
    """Settings that an attribute may need beside it: none, or the CPUs or the network interfaces that it is for."""
    yield {}
    for chooser in knob["attributes"]:
        if chooser["kind"].startswith(("CPUs", "network interfaces")) and chooser["name"] != name:
            for chosen in values(chooser["kind"]):
                yield {chooser["name"]: chosen}


def candidates(knob, attribute):
    """What to try, and why there is nothing to try when there is nothing."""
    name, why = attribute["name"], "as it is already, whatever is said"
    for beside in companions(knob, name):
        for value in values(attribute["kind"]):
            settings = {**beside, name: value}
            write(knob["id"], settings)
            code, plan, said = tune("plan", "--profile", PROFILE)
            if code == CHANGES and any(change["knob"] == knob["id"] for change in plan["changes"]):
                yield settings, None
            elif code not in (NO_CHANGE, CHANGES):
                why = said
            elif plan.get("skipped"):
                why = plan["skipped"][0]["reason"]
    yield None, why


def snapped():
    pairs = (line.split(" ", 1) for line in snapshot.lines(PLACES))
    return {pair[0]: pair[-1] for pair in pairs}


def differs(before, restless):
    for _ in range(LOOKS):
        after = snapped()
        paths = (before.keys() | after.keys()) - restless
        found = sorted(path for path in paths if before.get(path) != after.get(path))
        if not found:
            break
        time.sleep(0.5)
    return [f"{path}: {before.get(path)} -> {after.get(path)}" for path in found]


def attempt(settings):
    """Applies and takes back; the rows that were applied, and what went wrong."""
    shutil.rmtree(STATE, ignore_errors=True)
    _, applied, said = tune("apply", "--profile", PROFILE)
    rows = applied.get("changes", [])
    bad = [f"{row['attribute']} {row['identity']}: {row['status']}: {row['reason']}" for row in rows if row["status"] not in GOOD]
    code, back, said_back = tune("rollback", "--to", "baseline")
    left = [f"{row['attribute']} {row['identity']}: {row['status']}: {row['reason']}" for row in back.get("changes", []) if row["status"] not in GOOD]
    if code != 0:
        left.append(f"the roll-back ended with {code}: {said_back}")
    return rows, bad or ([] if rows else [said or "nothing was written"]), left


def tried(knob, attribute, before, restless):
    row = {"attribute": attribute["name"], "value": None, "changes": 0, "why": None, "differs": []}
    if values(attribute["kind"]) is None:
        # Which group or thread a knob is about is said beside what is done with it.
        is_name = attribute["kind"].startswith(("a control group", "a name"))
        row["why"] = "a name" if is_name else f"unknown kind: {attribute['kind']}"
        return row
    for settings, why in candidates(knob, attribute):
        if settings is None:
            row["why"] = row["why"] or why
            return row
        write(knob["id"], settings)
        rows, bad, left = attempt(settings)
        row["differs"] = left + differs(before, restless)
        if row["differs"] or not bad:
            return {**row, "value": settings, "changes": len(rows), "why": None}
        row["why"] = "; ".join(bad[:2])
    return row


def main():
    registry = json.load(sys.stdin)
    knob = next(knob for knob in registry["knobs"] if knob["id"] == sys.argv[1])
    first, before = snapped(), snapped()
    restless = {path for path in first.keys() | before.keys() if first.get(path) != before.get(path)}
    rows = [tried(knob, attribute, before, restless) for attribute in knob["attributes"]]
    print(json.dumps({"schema": "lab.knobs/1", "knob": knob["id"], "files": len(before), "restless": sorted(restless), "attributes": rows}))


main()
