"""Drive the same storms of short processes against moonwatch, forkstat, extrace, bpftrace and a
program that only empties the socket, in turns, and print what each one cost, saw and kept.

    tests/bench/run [--rounds N] [--quick]

Needs root. MOONWATCH names the binary (build/moonwatch); libinternal.a is looked for beside it, and
the same tables go to bench.md there. A peer that is not installed is named and left out.

Nothing waits for time but what is paced by time on purpose (latency, idle, 50 processes a second).
A tool is ready when marker processes wake it up or show in its output; it has drained when the
kernel's queue of its socket is empty and all its threads sleep.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PATIENCE_S = 30  # with something that hangs


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- figures -----------------------------------------------------------------------------------


def spread(values, form="%.1f"):
    """Median (min-max)."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    middle, low, high = (form % v for v in (statistics.median(values), min(values), max(values)))
    return middle if low == high else "%s (%s–%s)" % (middle, low, high)


def ratios(values, base):
    """Each round against the same round of the base: what disturbs both drops out."""
    return [a / b for a, b in zip(values, base) if a is not None and b]


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


class Report:
    """The same lines and tables as text and as Markdown."""

    def __init__(self):
        self.text, self.markdown = [], ["# moonwatch: figures", ""]

    def line(self, line=""):
        self.text.append(line)
        self.markdown += [line, ""] if line else []

    def table(self, title, note, head, rows):
        cells = [head] + [[str(c) for c in row] for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        self.text += ["", title]
        for row in cells:
            self.text.append("  " + "  ".join(
                c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))
        self.text += ["  " + line for line in note]
        self.markdown += ["", "## " + title, "", "| " + " | ".join(head) + " |",
                          "|" + " --- |" + " ---: |" * (len(head) - 1)]
        self.markdown += ["| " + " | ".join(row) + " |" for row in cells[1:]]
        self.markdown += ["", " ".join(note), ""]


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


class Tool:
    """One way to watch. `words` is its command line; `capture`, where given, the one whose output
    is complete line by line."""

    def __init__(self, name, words, capture=None):
        self.name, self.words, self.capture = name, words, capture
        self.process = None

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
            raise Failed("%s ended with %d: %s" % (
                self.name, self.process.returncode, self.errors.read().strip()[-300:]))

    def pids(self):
        return family(self.process.pid)

    def cpu_each(self):
        return {pid: cpu_ns(pid) for pid in self.pids()}

    def drops(self):
        return sum(drops for _, drops in connector_sockets(self.pids()))

    def quiet(self):
        """All was taken from the kernel, and nobody is at work on it."""
        pids = self.pids()
        return (not any(rmem for rmem, _ in connector_sockets(pids))
                and all(sleeps(pid) for pid in pids))

    def drain(self):
        until = time.monotonic() + PATIENCE_S
        while not (self.quiet() and self.quiet()):
            self.check()
            if time.monotonic() > until:
                raise Failed("%s does not come to rest" % self.name)

    def wakes(self, bench):
        """Does a short process wake up every process of the tool at once?"""
        if not self.quiet():
            return False
        before = self.cpu_each()
        bench.spawn_short()
        until = time.monotonic() + 0.02
        while time.monotonic() < until:
            now = self.cpu_each()
            if before and all(now.get(pid, 0) > cpu for pid, cpu in before.items()):
                return True
        return False

    def await_ready(self, bench):
        """Five times in a row: a tool that is still starting, or polls, is not that prompt."""
        until = time.monotonic() + PATIENCE_S
        row = 0
        while row < 5:
            row = row + 1 if self.wakes(bench) else 0
            self.check()
            if time.monotonic() > until:
                raise Failed("%s sees nothing" % self.name)
        self.drain()

    def await_marker(self, bench, path):
        """Until a process that cannot be missed shows in the output."""
        until = time.monotonic() + PATIENCE_S
        while not bench.marker_shows(path):
            self.check()
            if time.monotonic() > until:
                raise Failed("%s shows nothing" % self.name)

    def stop(self, bench):
        """End it as a user would; returns what it said on standard error."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        bench.running.remove(self)
        self.errors.seek(0)
        return self.errors.read()


BPFTRACE = "tracepoint:syscalls:sys_enter_execve { join(args->argv) }"

# bpftrace needs tracefs; where nobody mounted it, it gets one of its own.
WITH_TRACEFS = ["unshare", "-m", "sh", "-c",
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
    exec = mw.where { comm = "tiny" } (function(ev)
      ffi.C.clock_gettime(1, now)
      local age = tonumber(now.s) + tonumber(now.ns) / 1e9 - ev.mono
      if ev.args and ev.args[2] and ev.args[2]:sub(1, 5) == "beat-" then ages[#ages + 1] = age end
    end),
  },
}
"""


class Bench:
    def __init__(self, options):
        self.rounds = options.rounds or (2 if options.quick else 5)
        self.quick = options.quick
        self.per_spawner = 300 if options.quick else 1000
        self.beats = 150 if options.quick else 500
        self.pace_s = 5 if options.quick else 10
        self.running, self.missing, self.trouble = [], [], []
        self.marks = 0
        self.foreign = 0.0
        self.lost = {}
        self.moonwatch = os.path.abspath(
            os.environ.get("MOONWATCH", os.path.join(ROOT, "build/moonwatch")))

    # --- helpers in C ---------------------------------------------------------------------------

    def compile(self, name, *more):
        out = os.path.join(self.temp, name)
        subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu11", "-O2", "-D_GNU_SOURCE",
                        "-o", out, os.path.join(HERE, name + ".c"), *more], check=True)
        return out

    def build(self):
        self.tiny = self.compile("tiny", "-static")
        self.storm_helper = self.compile("storm")
        self.drain_helper = self.compile("drain")
        for name, text in ("args.lua", SCRIPT), ("latency.lua", LATENCY):
            with open(os.path.join(self.temp, name), "w") as f:
                f.write(text)

    def find_tools(self):
        script = os.path.join(self.temp, "args.lua")
        self.tools = [
            Tool("moonwatch, script", [self.moonwatch, "run", script]),
            Tool("moonwatch, JSON", [self.moonwatch, "--json"], [self.moonwatch, "--json"]),
            Tool("moonwatch --single, script", [self.moonwatch, "run", "--single", script]),
        ]
        for name, words, capture in (
                ("forkstat", ["forkstat", "-e", "fork,exec,exit"],
                 ["forkstat", "-l", "-e", "fork,exec,exit"]),
                ("extrace", ["extrace"], ["extrace", "-f"]),
                ("bpftrace", WITH_TRACEFS + ["bpftrace", "-e", BPFTRACE],
                 WITH_TRACEFS + ["bpftrace", "-e", BPFTRACE])):
            if shutil.which(name):
                self.tools.append(Tool(name, words, capture))
            else:
                self.missing.append(name)
        self.floor = Tool("floor", [self.drain_helper])
        self.tools.append(self.floor)

    def tool(self, name):
        return next((t for t in self.tools if t.name == name), None)

    # --- loads ----------------------------------------------------------------------------------

    def spawn_short(self):
        pid = os.posix_spawn(self.tiny, [self.tiny, "marker"], os.environ)
        os.waitpid(pid, 0)

    def marker_shows(self, path):
        self.marks += 1
        mark = "marker-%d-%d." % (os.getpid(), self.marks)
        at = os.path.getsize(path)
        with subprocess.Popen([self.tiny, "wait", mark], stdin=subprocess.PIPE) as marker:
            until = time.monotonic() + 0.5
            seen = b""
            with open(path, "rb") as f:
                f.seek(at)
                while time.monotonic() < until and mark.encode() not in seen:
                    seen = seen[-100:] + f.read()
            marker.stdin.close()
        return mark.encode() in seen

    def storm(self, spawners, count, tag, gap_us=0):
        """Seconds that it took."""
        out = subprocess.run([self.storm_helper, self.tiny, str(spawners), str(count), tag,
                              str(gap_us)], check=True, stdout=subprocess.PIPE)
        return int(out.stdout) / 1e9

    # --- losses ---------------------------------------------------------------------------------

    def note_losses(self, tool, drops, said):
        own, kernel = self.lost.setdefault(tool.name, [None, None])
        number = re.search(r"([\d,]+) lost \(proved\)", said)
        number = number or re.search(r"([\d,]+) dropped by the kernel", said)
        if tool.name.startswith("bpftrace"):
            lost = sum(int(n) for n in re.findall(r"Lost (\d+) events", said))
            self.lost[tool.name] = [(own or 0) + lost, None]
            return
        if number:
            own = (own or 0) + int(number.group(1).replace(",", ""))
        missed = re.search(r"([\d,]+) missed by slow scripts", said)
        if missed:
            self.trouble.append("%s: %s" % (tool.name, missed.group(0)))
        self.lost[tool.name] = [own, (kernel or 0) + drops]

    # --- 1, 4, 5: the storm with output to nowhere ------------------------------------------------

    def storm_alone(self):
        return {"wall": self.storm(3, self.per_spawner, "s")}

    def storm_watched(self, tool):
        tool.start(self)
        tool.await_ready(self)
        before = tool.cpu_each()
        wall = self.storm(3, self.per_spawner, "s")
        tool.drain()
        parts = [cpu - before.get(pid, 0) for pid, cpu in tool.cpu_each().items()]
        pids = tool.pids()
        memory = [sum(kib) / 1024 for kib in zip(*map(memory_kib, pids))]
        drops = tool.drops()
        said = tool.stop(self)
        self.note_losses(tool, drops, said)
        named = re.search(r"args ([\d.]+) %", said)
        lifecycles = 3 * self.per_spawner
        return {"wall": wall, "cpu": sum(parts) / 1e3 / lifecycles,
                "parts": [p / 1e3 / lifecycles for p in parts],
                "named": float(named.group(1)) if named else None,
                "pss": memory[0], "rss": memory[1], "processes": len(pids)}

    def storm_once(self, tool):
        """Again, once, when others on the machine started many processes meanwhile."""
        own = 3 * self.per_spawner
        for _ in range(2):
            before = forks_so_far()
            result = self.storm_watched(tool) if tool else self.storm_alone()
            result["foreign"] = max(0, forks_so_far() - before - own - 40) / own
            if result["foreign"] < 0.1:
                break
        self.foreign = max(self.foreign, result["foreign"])
        return result

    def measure_storms(self):
        results = {tool.name if tool else "none": [] for tool in [None] + self.tools}
        for i in range(self.rounds):
            say("storm, round %d of %d" % (i + 1, self.rounds))
            order = [None] + self.tools
            turn = i % len(order)
            for tool in order[turn:] + order[:turn]:
                results[tool.name if tool else "none"].append(self.storm_once(tool))
        self.living = living_processes()
        self.storms = results

    def column(self, name, key):
        return [result.get(key) for result in self.storms[name]]

    # --- 2: how many short processes have all their arguments ------------------------------------

    def whole(self, path, tag):
        """Distinct processes of which the output has every argument."""
        text = read(path).replace('","', " ").replace("'", "")  # JSON; extrace quotes
        pattern = (r"%s-(\d+)-(\d+) --option=value /some/path/of/a/file end-%s-\1-\2(?!\d)"
                   % (tag, tag))
        return len(set(re.findall(pattern, text)))

    def count_whole(self, tool):
        path = os.path.join(self.temp, "output")
        with open(path, "w") as output:
            tool.start(self, output)
            tool.await_marker(self, path)
            self.storm(3, self.per_spawner, "parallel")
            tool.await_marker(self, path)
            self.storm(1, self.per_spawner, "serial")
            tool.await_marker(self, path)
            drops = tool.drops()
            said = tool.stop(self)
        said += "\n".join(re.findall(r"Lost \d+ events", read(path)))
        self.note_losses(tool, drops, said)
        return {"parallel": 100 * self.whole(path, "parallel") / (3 * self.per_spawner),
                "serial": 100 * self.whole(path, "serial") / self.per_spawner}

    def measure_shares(self):
        tools = [tool for tool in self.tools if tool.capture]
        self.shares = {tool.name: [] for tool in tools}
        for i in range(self.rounds):
            say("arguments, round %d of %d" % (i + 1, self.rounds))
            turn = i % len(tools)
            for tool in tools[turn:] + tools[:turn]:
                self.shares[tool.name].append(self.count_whole(tool))

    # --- 3: from the kernel's stamp to the handler ------------------------------------------------

    def ages(self, tool):
        path = os.path.join(self.temp, "ages")
        with open(path, "w") as output:
            tool.start(self, output)
            tool.await_ready(self)
            self.storm(1, self.beats, "beat", 5000)
            tool.drain()
            tool.stop(self)
        found = [float(age) for age in read(path).split()]
        if len(found) < self.beats / 2:
            raise Failed("%s: %d of %d events" % (tool.name, len(found), self.beats))
        return found

    def measure_latency(self):
        script = os.path.join(self.temp, "latency.lua")
        tools = [Tool("floor: read from the socket", [self.drain_helper, "-l"]),
                 Tool("moonwatch --single, handler", [self.moonwatch, "run", "--single", script]),
                 Tool("moonwatch, handler in the worker", [self.moonwatch, "run", script])]
        self.latency = {tool.name: [] for tool in tools}
        rounds = min(self.rounds, 3)
        for i in range(rounds):
            say("latency, round %d of %d" % (i + 1, rounds))
            for tool in tools:
                self.latency[tool.name].append(self.ages(tool))

    # --- 7: little to do --------------------------------------------------------------------------

    def share_of_core(self, seconds, load):
        before = {tool: sum(tool.cpu_each().values()) for tool in self.tools}
        began = time.monotonic()
        if load:
            self.storm(1, 50 * seconds, "pace", 20000)
        else:
            time.sleep(seconds)
        took = time.monotonic() - began
        return {tool.name: 100 * (sum(tool.cpu_each().values()) - before[tool]) / 1e9 / took
                for tool in self.tools}

    def measure_idle(self):
        say("idle, and 50 processes a second: %d s each, all tools at once" % self.pace_s)
        for tool in self.tools:
            tool.start(self)
        for tool in self.tools:
            tool.await_ready(self)
        before = forks_so_far()
        self.idle = self.share_of_core(self.pace_s, False)
        self.idle_foreign = forks_so_far() - before
        self.paced = self.share_of_core(self.pace_s, True)
        for tool in self.tools:
            tool.stop(self)

    # --- 6: the host ------------------------------------------------------------------------------

    def measure_host(self):
        self.host = None
        library = os.path.join(os.path.dirname(self.moonwatch), "libinternal.a")
        if not os.path.exists(library):
            self.trouble.append("host figures left out: no libinternal.a beside the binary")
            return
        say("host")

        def pkg(option):
            return subprocess.run(["pkg-config", option, "luajit"], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout.split()

        link = [library, *pkg("--libs"), "-lev", "-lmd", "-lm", "-lpthread", "-ldl"]
        include = ["-I" + os.path.join(ROOT, "src"), *pkg("--cflags")]
        out = subprocess.run([self.compile("bench_host", *include, *link),
                              "3" if self.quick else "5"],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        self.host = {}
        for line in out.splitlines():
            name, *numbers = line.split()
            self.host[name] = [float(n) for n in numbers]
        out = subprocess.run([self.compile("bench_json", *include, *link)],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        found = re.search(r"^exec, all fields, parent\s+(\d+) ns.*min (\d+), max (\d+)", out, re.M)
        if found:
            self.host["json"] = [float(n) for n in found.groups()]

    # --- the report -------------------------------------------------------------------------------

    def report_top(self, r):
        def version(package):
            done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            return done.stdout or "?"

        peers = [t.name for t in self.tools if t.name in ("forkstat", "extrace", "bpftrace")]
        r.line("kernel %s, %d processors, %d rounds in turns, storm of 3 spawners x %d processes"
               % (os.uname().release, os.cpu_count(), self.rounds, self.per_spawner))
        r.line("peers: " + ", ".join("%s %s" % (p, version(p)) for p in peers)
               + "".join("; %s is not installed: left out" % m for m in self.missing))
        r.line("figures are medians (min–max) of the rounds; ratios are taken round by round")
        r.line("load average before %s, after %s (the benchmark's own included); processes of others "
               "during a storm: at most %.0f %% of it"
               % (self.load_before, " ".join(read("/proc/loadavg").split()[:3]), 100 * self.foreign))
        lost = []
        for name, (own, kernel) in self.lost.items():
            if name.startswith("moonwatch"):
                text = "%d lost (proved)" % (own or 0)
            elif own is not None:
                text = "%d lost" % own
            else:
                text = "unknown"
            if kernel is not None and own != kernel:
                text += ", the kernel's counter says %d" % kernel
            lost.append("%s: %s" % (name, text))
        r.line("lost, all storms together: " + "; ".join(lost))
        for line in self.trouble:
            r.line(line)

    def named(self, tool):
        """Percent of the storm's processes of which it knew the arguments."""
        own = [share for share in self.column(tool.name, "named") if share is not None]
        own = own or [share["parallel"] for share in self.shares.get(tool.name, [])]
        return statistics.median(own) if own else None

    def report_cpu(self, r):
        base = self.column("forkstat", "cpu") if "forkstat" in self.storms else []
        rows = []
        for tool in self.tools:
            cpu = self.column(tool.name, "cpu")
            parts = list(zip(*self.column(tool.name, "parts")))
            named = self.named(tool)
            rows.append([tool.name, spread(cpu), spread(ratios(cpu, base), "%.2f"),
                         "%.1f" % named if named else "-",
                         "%.0f" % (statistics.median(cpu) * 100 / named) if named else "-",
                         " + ".join("%.1f" % statistics.median(p) for p in parts)
                         if len(parts) > 1 else ""])
        r.table("CPU time for one process lifecycle (fork, exec, exit)",
                ["User and system time of all threads of the tool, output to /dev/null. What a tool",
                 "adds inside the watched processes (messages, BPF programs) is in the slowdown below.",
                 "extrace shows execs only; bpftrace traces execve only, and not fork and exit. What is",
                 "lost or gone before it is read costs next to nothing: hence the time for each process",
                 "whose arguments were known (moonwatch: as its summary says; others: from the next table)."],
                ["", "µs", "x forkstat", "args known, %", "µs for each known",
                 "collector + worker"], rows)

    def report_shares(self, r):
        rows = [[name, spread([s["parallel"] for s in shares]), spread([s["serial"] for s in shares])]
                for name, shares in self.shares.items()]
        r.table("Short processes shown with all their arguments, percent",
                ["Of %d from 3 spawners, of %d from one. A static program that returns at once."
                 % (3 * self.per_spawner, self.per_spawner)],
                ["", "parallel", "serial"], rows)

    def report_latency(self, r):
        rows = []
        for name, runs in self.latency.items():
            rows.append([name, spread([len(run) for run in runs], "%.0f")]
                        + [spread([percentile(run, share) for run in runs], "%.0f")
                           for share in (0.5, 0.9, 0.99, 1)])
        r.table("From the kernel's stamp of an exec to the handler, µs",
                ["%d processes 5 ms apart on an otherwise idle machine, %d runs. Fewer events: these had"
                 % (self.beats, len(next(iter(self.latency.values())))),
                 "ended before their arguments were read, so the handler did not know them."],
                ["", "events", "median", "p90", "p99", "max"], rows)

    def report_memory(self, r):
        base = self.column("forkstat", "pss") if "forkstat" in self.storms else []
        rows = [[tool.name, str(self.column(tool.name, "processes")[0]),
                 spread(self.column(tool.name, "pss")), spread(self.column(tool.name, "rss")),
                 spread(ratios(self.column(tool.name, "pss"), base), "%.2f")]
                for tool in self.tools]
        r.table("Resident memory after the storm, MiB",
                ["Sum over the tool's processes, with %d processes alive on the machine." % self.living],
                ["", "processes", "Pss", "RSS", "Pss x forkstat"], rows)

    def report_slowdown(self, r):
        alone = self.column("none", "wall")
        per = 1e6 / (3 * self.per_spawner)
        rows = [["no monitor", spread([w * per for w in alone]), "1.00"]]
        for tool in self.tools:
            wall = self.column(tool.name, "wall")
            rows.append([tool.name, spread([w * per for w in wall]),
                         spread(ratios(wall, alone), "%.2f")])
        r.table("Slowdown of the storm itself", ["Wall time of the storm divided by its processes."],
                ["", "µs a process", "x no monitor"], rows)

    # From measurements of bare LuaJIT tables, without a process table behind them.
    REFERENCE = {"filter-1": 2051, "filter-10": 2692, "filter-100": 11178,
                 "touch-1": 2508, "touch-10": 6788, "touch-100": 56761, "json": 1260}

    def report_host(self, r):
        names = [("no script: the process table alone", "filter-0"),
                 ("1 script, three tests", "filter-1"), ("10 scripts, three tests", "filter-10"),
                 ("100 scripts, three tests", "filter-100"),
                 ("1 script, every field, args, parent", "touch-1"),
                 ("10 scripts, every field, args, parent", "touch-10"),
                 ("100 scripts, every field, args, parent", "touch-100"),
                 ("exec as JSON, with its parent", "json"),
                 ("ring: write and read, one thread", "ring-same-thread"),
                 ("ring: two threads, wall time", "ring-two-threads"),
                 ("process table: fork + exec + exit", "tracker-lifecycle")]
        rows = []
        for title, name in names:
            if name not in self.host:
                continue
            middle, low, high = self.host[name]
            rows.append([title, "%.0f (%.0f–%.0f)" % (middle, low, high),
                         str(self.REFERENCE.get(name, ""))])
        r.table("Behind the socket, ns for one exec record",
                ["Made-up execs of 8192 processes. The reference has 20 fields, and no process table."],
                ["", "ns", "reference"], rows)

    def report_idle(self, r):
        rows = [[tool.name, "%.3f" % self.idle[tool.name], "%.2f" % self.paced[tool.name]]
                for tool in self.tools]
        r.table("CPU with little to do, percent of one core",
                ["All tools at once, %d s each. %d processes of others started in the idle time."
                 % (self.pace_s, self.idle_foreign)],
                ["", "idle", "50 processes/s"], rows)

    def report(self):
        r = Report()
        self.report_top(r)
        self.report_cpu(r)
        self.report_shares(r)
        if self.latency:
            self.report_latency(r)
        self.report_memory(r)
        self.report_slowdown(r)
        if self.host:
            self.report_host(r)
        self.report_idle(r)
        print("\n".join(r.text))
        with open(os.path.join(os.path.dirname(self.moonwatch), "bench.md"), "w") as f:
            f.write(re.sub(r"\n{3,}", "\n\n", "\n".join(r.markdown)).rstrip() + "\n")

    # --- all of it --------------------------------------------------------------------------------

    def run(self):
        self.load_before = " ".join(read("/proc/loadavg").split()[:3])
        self.build()
        self.find_tools()
        self.measure_storms()
        self.measure_shares()
        try:
            self.measure_latency()
        except Failed as trouble:
            self.latency = None
            self.trouble.append("latency left out: %s" % trouble)
        self.measure_idle()
        self.measure_host()
        self.report()

    def end(self):
        for tool in self.running[:]:
            tool.process.kill()
            tool.process.wait()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="how often each tool gets each storm (5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds, smaller storms")
    bench = Bench(parser.parse_args())
    if os.geteuid() != 0:
        sys.exit("bench: needs root: the process connector and the peers do")
    if not os.access(bench.moonwatch, os.X_OK):
        sys.exit("bench: no %s: run make, or name it with MOONWATCH" % bench.moonwatch)
    with tempfile.TemporaryDirectory(prefix="moonwatch-bench.") as bench.temp:
        os.chmod(bench.temp, 0o755)
        try:
            bench.run()
        except (Failed, subprocess.CalledProcessError) as trouble:
            sys.exit("bench: %s" % trouble)
        finally:
            bench.end()


if __name__ == "__main__":
    main()
