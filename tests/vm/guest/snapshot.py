"""Every setting that can be written and read, a line each, with the boot line; what the kernel changes by itself is not one."""

import os
import stat

PLACES = [
    "/proc/sys/kernel", "/proc/sys/vm", "/proc/sys/net/core", "/proc/irq", "/sys/kernel/mm", "/sys/devices/system/cpu",
    "/sys/devices/system/node", "/sys/devices/virtual/workqueue", "/sys/module/workqueue/parameters",
    "/sys/kernel/debug/sched/fair_server", "/sys/fs/cgroup",
]
# The scan's own process, processes that come and go, measurements, and what each boot makes of the memory that was free then
# (user_reserve_kbytes: mm/util.c, init_user_reserve).
BY_ITSELF = ("ns_last_pid", "cgroup.procs", "cgroup.threads", "cgroup.pressure", "memory.peak", "uevent", "memory.reclaim",
             "user_reserve_kbytes")
PRESSURE = (".pressure", "pressure")
BOTH = stat.S_IRUSR | stat.S_IWUSR


def lines(places=PLACES):
    yield "/proc/cmdline " + open("/proc/cmdline").read().strip()
    for place in places:
        for folder, folders, files in os.walk(place):
            folders.sort()
            if folder.startswith("/sys/fs/cgroup") and folder.endswith((".service", ".scope", ".mount", ".socket")):
                continue
            for name in sorted(files):
                path = folder + "/" + name
                if name in BY_ITSELF or name.endswith(PRESSURE) or os.path.islink(path):
                    continue
                try:
                    if os.stat(path).st_mode & BOTH == BOTH:
                        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                        yield path + " " + os.read(fd, 4096).decode(errors="replace").strip().replace("\n", "|")
                        os.close(fd)
                except OSError as error:
                    yield f"{path} error {error.errno}"


if __name__ == "__main__":
    for line in lines():
        print(line)
