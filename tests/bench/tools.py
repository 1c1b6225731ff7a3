"""tools.py - the programs that are measured: how each is started, known to be ready, and weighed.

Knows what /proc says of a process and of its sockets, and the scripts that moonwatch and bpftrace
are given. Which load they get, and when, is not decided here.
"""

import os
import re
import signal
import subprocess
import tempfile
import time

from figures import read

PATIENCE_S = 20  # with something that hangs
WAKE_S = 0.25    # to react to a process: many times what events gather for, on a busy machine too

# --- /proc -------------------------------------------------------------------------------------


def tasks(pid):
    try:
        return os.listdir("/proc/%d/task" % pid)
    except OSError:
        return []


def family(pid):
    """A process and all its descendants."""
    found = [pid]
    for one in found:
        for task in tasks(one):
            found += map(int, read("/proc/%d/task/%s/children" % (one, task)).split())
    return found


def cpu_ns(pid):
    """CPU time of all threads of one process, to the nanosecond."""
    total = 0
    for task in tasks(pid):
        fields = read("/proc/%d/task/%s/schedstat" % (pid, task)).split()
        total += int(fields[0]) if fields else 0
    return total


def sleeps(pid):
    for task in tasks(pid):
        stat = read("/proc/%d/task/%s/stat" % (pid, task))
        if stat and stat[stat.rindex(")") + 2] not in "SZ":
            return False
    return True


def memory_kib(pid):
    rollup = read("/proc/%d/smaps_rollup" % pid)
    return [int(re.search(r"^%s:\s+(\d+)" % key, rollup, re.M).group(1)) if rollup else 0
            for key in ("Pss", "Rss")]


def living_processes():
    return sum(name.isdigit() for name in os.listdir("/proc"))


def forks_so_far():
    return int(re.search(r"^processes (\d+)", read("/proc/stat"), re.M).group(1))


def connector_sockets(pids):
    """[Rmem, Drops] of the sockets of these processes that receive process events."""
    inodes = set()
    for pid in pids:
        try:
            fds = os.listdir("/proc/%d/fd" % pid)
        except OSError:
            continue
        for fd in fds:
            try:
                link = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            except OSError:
                continue
            inodes.update(re.findall(r"^socket:\[(\d+)\]$", link))
    rows = [line.split() for line in read("/proc/net/netlink").splitlines()[1:]]
    return [[int(row[4]), int(row[8])] for row in rows
            if row[1] == "11" and int(row[3], 16) & 1 and row[9] in inodes]


# --- tools -------------------------------------------------------------------------------------


class Failed(Exception):
    pass


TROUBLE = (Failed, OSError, subprocess.SubprocessError, ValueError, LookupError)


class Tool:
    """One way to watch. `words` is its command line; `capture`, where given, the one whose output
    is complete line by line."""

    def __init__(self, name, words, capture=None, peer=None):
        self.name, self.words, self.capture, self.peer = name, words, capture, peer
        self.sources = self.priority = None  # what a form of moonwatch says of itself
        self.process = None
        self.failures = 0

    def start(self, bench, output=None):
        self.errors = tempfile.TemporaryFile("w+", dir=bench.temp)
        words = self.capture if output and self.capture else self.words
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output or subprocess.DEVNULL,
            stderr=self.errors, start_new_session=True, cwd=bench.temp)
        bench.running.append(self)

    def check(self):
        if self.process.poll() is not None:
            self.errors.seek(0)
            raise Failed("ended with %d: %s" % (
                self.process.returncode, self.errors.read().strip()[-300:]))

    def pids(self):
        return family(self.process.pid)

    def cpu_each(self):
        return {pid: cpu_ns(pid) for pid in self.pids()}

    def drops(self):
        return sum(drops for _, drops in connector_sockets(self.pids()))

    def queued(self):
        """Bytes that wait in the kernel to be read."""
        return sum(rmem for rmem, _ in connector_sockets(self.pids()))

    def quiet(self):
        """All was taken from the kernel, and nobody is at work on it."""
        return not self.queued() and all(sleeps(pid) for pid in self.pids())

    def rests(self, patience_s):
        until = time.monotonic() + patience_s
        while not (self.quiet() and self.quiet()):
            self.check()
            if time.monotonic() > until:
                return False
            time.sleep(0.001)
        return True

    def drain(self, bench):
        """Where others keep it at work there may be no such moment; then it must not be behind."""
        if self.rests(PATIENCE_S):
            return
        if self.queued() > 1 << 20:
            raise Failed("is still behind after %d s" % PATIENCE_S)
        bench.note("%s did not come to rest: others start processes all the time" % self.name)

    def wakes(self, bench):
        """Does a short process wake up every process of the tool?"""
        if not self.rests(1):
            return False  # still starting
        before = self.cpu_each()
        bench.spawn_short()
        until = time.monotonic() + WAKE_S
        while time.monotonic() < until:
            now = self.cpu_each()
            if before and all(now.get(pid, 0) > cpu for pid, cpu in before.items()):
                return True
            time.sleep(0.001)
        return False

    def await_ready(self, bench):
        """Three times in a row: who is still starting may wake up for another reason."""
        until = time.monotonic() + PATIENCE_S
        row = 0
        while row < 3:
            row = row + 1 if self.wakes(bench) else 0
            self.check()
            if time.monotonic() > until:
                raise Failed("sees nothing" if self.quiet() else "does not come to rest after its start")
        self.drain(bench)

    def await_marker(self, bench, path):
        """Until a process that cannot be missed shows in the output."""
        until = time.monotonic() + PATIENCE_S
        while not bench.marker_shows(path):
            self.check()
            if time.monotonic() > until:
                raise Failed("shows nothing")

    def stop(self, bench):
        """End it as a user would; returns what it said on standard error."""
        self.check()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        bench.running.remove(self)
        self.errors.seek(0)
        return self.errors.read()

    def abandon(self, bench):
        if self in bench.running:
            bench.running.remove(self)
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # its own session
            self.process.wait()


BPFTRACE_EXECS = "tracepoint:syscalls:sys_enter_execve { join(args->argv) }"
BPFTRACE = BPFTRACE_EXECS + """
tracepoint:sched:sched_process_fork { printf("fork %d %d\\n", args->parent_pid, args->child_pid) }
tracepoint:sched:sched_process_exit { printf("exit %d\\n", pid) }"""

# bpftrace needs tracefs; where nobody mounted it, it gets one of its own. join() writes 16 KiB for
# each exec, so its usual buffer of 256 KiB is full after 16 of them: it gets 4 MiB a processor.
WITH_TRACEFS = ["env", "BPFTRACE_PERF_RB_PAGES=1024", "unshare", "-m", "sh", "-c",
                "test -d /sys/kernel/tracing/events || mount -t tracefs tracefs /sys/kernel/tracing; "
                'exec "$@"', "sh"]

SCRIPT = """-- Looks at the arguments of every exec.
local mw = require "moonwatch"
local n = 0

return mw.script {
  name = "args",
  on = {
    fork = function(_) end,
    exec = function(ev)
      if ev.args then n = n + #ev.args end
    end,
    exit = function(_) end,
  },
}
"""

SHOW = """-- Prints the arguments of every exec.
local mw = require "moonwatch"

return mw.script {
  name = "show",
  on = { exec = function(ev) if ev.args then print(table.concat(ev.args, " ")) end end },
}
"""

COUNT = """-- Counts the execs of the storm. By the parent: of a child that is gone the name may be unknown.
local mw = require "moonwatch"
local n = 0
mw.at_exit(function() print(n) end)

return mw.script {
  name = "count",
  on = {
    exec = function(ev)
      if ev.parent and ev.parent.comm == "STORM" then n = n + 1 end
    end,
  },
}
"""

LOOK = """-- Looks at every exec.
local mw = require "moonwatch"
local n = 0
mw.at_exit(function() print(n) end)
return mw.script {
  name = "look",
  on = { exec = function(ev)
    if ev.comm == "TINY" and ev.args and ev.args[2] == "r-7" then n = n + 1 end
  end },
}
"""

LATENCY = """-- How old is an exec when a handler gets it?
local mw = require "moonwatch"
local ffi = require "ffi"
ffi.cdef [[
typedef struct { long s, ns; } bench_time;
int clock_gettime(int id, bench_time *to);
]]
local now = ffi.new "bench_time"
local ages = {}

mw.at_exit(function()
  for _, age in ipairs(ages) do print(("%.1f"):format(age * 1e6)) end
end)

return mw.script {
  name = "latency",
  on = {
    exec = mw.where { comm = "TINY" } (function(ev)
      ffi.C.clock_gettime(1, now)
      local age = tonumber(now.s) + tonumber(now.ns) / 1e9 - ev.mono
      if ev.args and ev.args[2] and ev.args[2]:sub(1, 5) == "beat-" then ages[#ages + 1] = age end
    end),
  },
}
"""
