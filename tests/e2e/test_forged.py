"""test_forged.py - what the kernel did not send is not believed."""
import os
import re
import socket
import struct
import time

from mwtest import (NETLINK_CONNECTOR, PROC_GROUP, Act, Watch, check, connector_message, equal, kind, main, of,
                    pid_of, test)

EXEC, EXIT = 0x2, 0x80000000


def proc_event(what, pid, code=0, parent=1):
    """struct proc_event of an exec or an exit."""
    head = struct.pack("=IIQ", what, 0, time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    data = struct.pack("=IIIIII", pid, pid, code, 17, parent, parent)
    return head + data


def port_of(pid):
    """The port of the process's connector socket."""
    inodes = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    for line in open("/proc/net/netlink"):
        row = line.split()
        if row[1] == str(NETLINK_CONNECTOR) and f"socket:[{row[-1]}]" in inodes:
            return int(row[2])
    raise AssertionError("the process has no connector socket")


@test("messages forged by root, to the group and to the watch's own port, are rejected and counted")
def forged():
    with Watch("--json") as w, Act("wait exit:0") as act:
        w.wait_event(of(act.pid, "exec"), "the exec")
        begin = len(w.events)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR) as s:
            s.bind((0, 0))
            for number in range(5):
                s.sendto(connector_message(proc_event(EXIT, act.pid, 9), seq=number), (0, PROC_GROUP))
                s.sendto(connector_message(proc_event(EXEC, act.pid), seq=number), (port_of(w.pid), 0))
            s.sendto(b"\xff" * 76, (port_of(w.pid), 0))
        w.marker()
        equal([kind(e) for e in w.events[begin:] if pid_of(e) == act.pid], [], "events of the one that lives")
        equal(w.stop(), 0, "status")
        found = re.search(r"([\d,]+) forged, rejected", w.stderr())
        check(found and int(found[1].replace(",", "")) >= 11, f"11 or more in the summary: {w.stderr()}")
        check(" 0 lost (proved)" in w.stderr(), f"a forged number is no gap: {w.stderr()}")


@test("a watch that nobody forges for says nothing of it")
def honest():
    with Watch("--json") as w:
        w.stop()
        check("forged" not in w.stderr() or other_forgers(w), w.stderr())


def other_forgers(w):
    """Another test on this machine may forge just now: then it is only told, never believed."""
    return int(re.search(r"([\d,]+) forged", w.stderr())[1].replace(",", "")) > 0


if __name__ == "__main__":
    main()
