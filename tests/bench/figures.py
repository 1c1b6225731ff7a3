"""figures.py - what a benchmark found, as tables of medians and ratios, and the targets.

Starts nothing and measures nothing: class Figures reads the attributes that class Bench fills in,
and takes what is missing (a peer, a form, a round in which a tool failed) for not measured.
"""

import math
import os
import statistics
import subprocess
import time

# The forms of moonwatch that have targets.
TAP, NO_TAP, SLICE = "moonwatch", "moonwatch, no tap", "moonwatch, slice only"
FLIGHT = "moonwatch, flight recorder"


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def spread(values, form="%.1f"):
    """Median (min-max)."""
    values = [v for v in values if v is not None]
    if not values:
        return "-"
    middle, low, high = (form % v for v in (statistics.median(values), min(values), max(values)))
    return middle if low == high else "%s (%s–%s)" % (middle, low, high)


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def percent(part, whole):
    """Rounded down: 100.0 is all of them."""
    return math.floor(1000 * part / whole) / 10


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


class Figures:
    def tool(self, name):
        return next((t for t in self.tools if t.name == name), None)

    def column(self, name, key):
        return [result.get(key) for result in self.storms.get(name, [])]

    # --- tables -----------------------------------------------------------------------------------

    def report_top(self, r):
        def version(package):
            done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            return done.stdout or "?"

        peers = sorted({t.peer for t in self.tools if t.peer})
        r.line("kernel %s, %d processors, %d rounds in turns, storm of 3 spawners x %d processes"
               % (os.uname().release, os.cpu_count(), self.rounds, self.per_spawner))
        r.line("peers: " + (", ".join("%s %s" % (p, version(p)) for p in peers) or "none")
               + "".join("; %s is not installed: left out" % m for m in self.missing))
        r.line("figures are medians (min–max) of the rounds; ratios are taken round by round")
        for tool in self.tools:
            if tool.sources:
                r.line("%s: options %s: sources %s; priority %s" % (
                    tool.name, " ".join(tool.options) or "none", tool.sources, tool.priority))
        r.line("load average before %s, after %s (the benchmark's own included); processes of others "
               "during a storm: at most %.0f %% of it"
               % (self.load_before, " ".join(read("/proc/loadavg").split()[:3]),
                  100 * self.foreign.get("storm", 0)))
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
        r.line("took %.0f s: %s" % (time.monotonic() - self.began, ", ".join(
            "%s %.0f" % took for took in self.took.items())))
        for line in self.trouble:
            r.line(line)

    def named(self, tool):
        """Percent of the storm's processes of which it knew the arguments."""
        own = median(self.column(tool.name, "named"))
        return median(self.shares.get(tool.name, [])) if own is None else own

    def report_cpu(self, r):
        rows = []
        for tool in self.tools:
            cpu = self.column(tool.name, "cpu")
            parts = list(zip(*filter(None, self.column(tool.name, "parts"))))
            named, middle = self.named(tool), median(cpu)
            rows.append([tool.name, spread(cpu)]
                        + [spread(ratios(cpu, self.column(base, "cpu")), "%.2f")
                           for base in ("forkstat", "bpftrace", "bpftrace (execs only)")]
                        + ["%.1f" % named if named else "-",
                           "%.0f" % (middle * 100 / named) if named and middle else "-",
                           " + ".join("%.1f" % statistics.median(p) for p in parts)
                           if len(parts) > 1 else ""])
        r.table("CPU time for one process lifecycle (fork, exec, exit)",
                ["User and system time of all threads of the tool, output to /dev/null. What a tool",
                 "adds inside the watched processes (messages, BPF programs) is in the slowdown below.",
                 "Where it says execs only, nothing is told of forks and exits. What is lost or gone",
                 "before it is read costs next to nothing: hence the time for each process whose",
                 "arguments were known (moonwatch: as its summary says; others: from the next table)."],
                ["", "µs", "x forkstat", "x bpftrace", "x its execs only", "args known, %",
                 "µs for each known", "collector + worker"], rows)

    def report_shares(self, r):
        r.table("Short processes shown with all their arguments, percent",
                ["Of %d from 3 spawners. A static program that returns at once." % (3 * self.per_spawner)],
                ["", "share"], [[name, spread(shares)] for name, shares in self.shares.items()])
        if self.many_shares:
            r.table("The same in one long storm",
                    ["Rounded down: 100.0 is every one."],
                    ["", "shown whole", "of", "percent", "processes/s"],
                    [[name, "%d" % whole, "%d" % started, "%.1f" % percent(whole, started),
                      "%.0f" % (started / seconds)]
                     for name, (whole, started, seconds) in self.many_shares.items()])

    def report_rates(self, r):
        rows = [[name, "%.0f" % f["seconds"], "%d" % f["started"], "%.0f" % (f["started"] / f["seconds"]),
                 "%d" % f["told"], "%d" % f["lost"], "%d" % f["drops"], "%d" % f["missed"]]
                for name, f in self.rates.items()]
        r.table("As many processes as this machine can start",
                ["%d spawners of the static program at once. Lost: as the summary proves it; dropped: as"
                 % (2 * os.cpu_count()),
                 "the kernel's counter of the socket says; missed: by the script, which was too slow."],
                ["", "s", "started", "processes/s", "execs told to the script", "lost", "dropped",
                 "missed"], rows)

    def report_latency(self, r):
        rows = []
        for name, runs in self.latency.items():
            rows.append([name, spread([len(run) for run in runs], "%.0f")]
                        + [spread([percentile(run, share) for run in runs], "%.0f")
                           for share in (0.5, 0.9, 0.99, 1)])
        r.table("From the kernel's stamp of an exec to the handler, µs",
                ["%d processes 5 ms apart on an otherwise idle machine, %d runs. Fewer events: these had"
                 % (self.beats, max(map(len, self.latency.values()))),
                 "ended before their arguments were read, so the handler did not know them. The floor",
                 "has no handler that could choose: it counts the execs of others too."],
                ["", "events", "median", "p90", "p99", "max"], rows)

    def report_memory(self, r):
        base = self.memory.get("forkstat")
        rows = [[name, "%d" % m["processes"], "%.1f" % m["pss"], "%.1f" % m["rss"],
                 "%.1f" % (m["pss"] / base["pss"]) if base and base["pss"] else "-"]
                for name, m in self.memory.items()]
        r.table("Resident memory after a storm, MB (10^6 bytes)",
                ["Sum over the tool's processes, with %d processes alive on the machine." % self.living],
                ["", "processes", "Pss", "Rss", "Pss x forkstat"], rows)

    def report_slowdown(self, r):
        per = 1e6 / (3 * self.per_spawner)
        alone = self.column("none", "wall")
        rows = [[name if name != "none" else "no monitor",
                 spread([w * per for w in self.column(name, "wall") if w is not None]),
                 spread(ratios(self.column(name, "wall"), alone), "%.2f")]
                for name in self.storms]
        r.table("Slowdown of the storm itself", ["Wall time of the storm divided by its processes."],
                ["", "µs a process", "x no monitor"], rows)

    # The bar: from measurements of bare LuaJIT tables, without a process table behind them.
    REFERENCE = {"filter-1": 2051, "filter-10": 2692, "filter-100": 11178,
                 "touch-1": 2508, "touch-10": 6788, "touch-100": 56761, "json": 1260,
                 "filter-interpreted-1": 2085, "filter-interpreted-10": 2491,
                 "touch-interpreted-1": 2534,
                 "pause-0": (1500, 14000, 90000), "pause-10000": (1900, 39000, 221000),
                 "pause-100000": (2500, 44000, 379000)}

    def host_cell(self, name):
        if name not in self.host:
            return "-"
        return "%.0f (%.0f–%.0f)" % tuple(self.host[name])

    def report_host(self, r):
        names = [("no script: the process table alone", "filter-0"),
                 ("exec as JSON, with its parent", "json"),
                 ("what surrounds each call of a script: marks, clock", "budget-call"),
                 ("p:set() into the file of mw.persist: its part in C", "store-put"),
                 ("ring: write and read, one thread", "ring-same-thread"),
                 ("ring: two threads, wall time", "ring-two-threads"),
                 ("process table: fork + exec + exit", "tracker-lifecycle")]
        rows = [[title, self.host_cell(name), str(self.REFERENCE.get(name, ""))]
                for title, name in names if name in self.host]
        r.table("Behind the socket, ns for one exec record",
                ["Made-up execs of 8192 processes."], ["", "ns", "bar"], rows)
        self.report_scripts(r)
        self.report_collector(r)

    def report_scripts(self, r):
        """The policy profile compiles nothing, the trusted one does."""
        rows = []
        for load, what in (("filter", "three tests"), ("touch", "every field, args, parent")):
            for count in (1, 10, 100):
                policy, trusted = "%s-interpreted-%d" % (load, count), "%s-%d" % (load, count)
                rows.append(["%d script%s, %s" % (count, "s"[:count > 1], what),
                             self.host_cell(policy), str(self.REFERENCE.get(policy, "")),
                             self.host_cell(trusted), str(self.REFERENCE.get(trusted, ""))])
        r.table("An exec to scripts, ns",
                ["Process table, event table and handlers. The bar has 20 fields and no process table."],
                ["", "policy", "bar", "trusted", "bar"], rows)

    def report_collector(self, r):
        """Pauses and share of Lua's garbage collector."""
        def microseconds(figures):
            return " / ".join("%.1f" % (ns / 1e3) for ns in figures) if figures else "-"

        def share(name):
            return "%.0f %%" % self.host[name][0] if name in self.host else "-"

        rows = []
        for live in (0, 10000, 100000):
            policy, trusted = "interpreted-%d" % live, "%d" % live
            rows.append(["{:,}".format(live), microseconds(self.host.get("pause-" + policy)),
                         microseconds(self.host.get("pause-" + trusted)),
                         microseconds(self.REFERENCE["pause-" + trusted]),
                         share("gc-" + policy), share("gc-" + trusted)])
        r.table("The garbage collector",
                ["One script that touches every field, and so many tables that live on. One event, p50 /",
                 "p99 / p99.99 in µs of CPU time; and the share of the time for the collector's cycles."],
                ["live tables", "policy", "trusted", "bar (trusted)", "share, policy", "share, trusted"],
                rows)

    def report_recording(self, r):
        rows = [[what, "{:,}".format(f["events"]), "%.1f" % f["bytes"], "%.0f" % f["ns"]]
                for what, f in (("a build", self.recorded.get("build")), ("a storm", self.recorded.get("storm"))) if f]
        note = ["Bytes and processor time of the process that writes, for one event; secrets are looked for."]
        if "replay" in self.recorded:
            note.append("A replay of the storm through a script that looks at each exec: %s events a second of processor time."
                        % spread(self.recorded["replay"], "%.0f"))
        r.table("Recording", note, ["", "events", "bytes", "ns"], rows)

    def report_idle(self, r):
        def cell(figures, name, form):
            return form % figures[name] if name in figures else "-"

        rows = [[tool.name, cell(self.idle, tool.name, "%.3f"), cell(self.paced, tool.name, "%.2f")]
                for tool in self.tools]
        r.table("CPU with little to do, percent of one core",
                ["Idle: all tools at once for %g s, in which others started %d processes. 50 processes a"
                 % (self.idle_s, self.idle_foreign), "second: one tool at a time, %g s." % self.pace_s],
                ["", "idle", "50 processes/s"], rows)

    # --- targets ----------------------------------------------------------------------------------

    def ratio(self, name, base, key="cpu"):
        return median(ratios(self.column(name, key), self.column(base, key)))

    def without(self, name):
        """Why there is no figure of this form, or nothing."""
        tool = self.tool(name)
        if not tool:
            return self.absent.get(name, "not in this form of the benchmark")
        if name == TAP and "tap" not in tool.sources:
            return "no tap here"
        if name == NO_TAP and "FIFO" not in tool.priority:
            return "no SCHED_FIFO here"
        return "slice" not in tool.priority and "no slice here" if name == SLICE else ""

    def judge(self, form, what, target, value, met, text, why=""):
        """One row: `met` tests the value, `text` formats it."""
        why = self.without(form) or (value is None and (why or "no figure"))
        if why:
            return [what, target, "-", "not measured: " + why]
        return [what, target, text % value if isinstance(text, str) else text(value),
                "met" if met(value) else "missed"]

    def judge_share(self, form, what, target, met):
        value = self.many_shares.get(form)
        short = self.many < 100000 and "the full form only"
        return self.judge(form, what, target, None if short else value, met,
                          lambda v: "%.1f %% (%d of %d)" % (percent(v[0], v[1]), v[0], v[1]), short)

    def judge_rate(self, form, what):
        short = self.rate_s < 60 and "the full form only"
        return self.judge(
            form, what, "0, proved", None if short else self.rates.get(form),
            lambda f: f["lost"] == f["drops"] == 0 and f["told"] == f["started"],
            lambda f: "%d lost, %d execs told of %d, %.0f/s" % (
                f["lost"], f["told"], f["started"], f["started"] / f["seconds"]), short)

    def targets(self):
        def most(limit):
            return lambda value: value <= limit

        def ratio_row(form, what, base, limit, key="cpu"):
            return self.judge(form, what, "<= %.2f" % limit, self.ratio(form, base, key), most(limit),
                              "%.2f", "" if self.column(base, key) else "no " + base)

        def age(share):
            return median([percentile(run, share) for run in self.latency.get("moonwatch --delay 0", [])])

        weight = self.memory.get(TAP)
        busy = self.idle_foreign > self.idle_s and "others started %d processes" % self.idle_foreign

        def quiet_row(phase, what, target, value, limit, form):
            share = self.foreign.get(phase, 0)
            why = share > 0.1 and "others started %.0f %% as many" % (100 * share)
            return self.judge(TAP, what, target, None if why else value, most(limit), form, why)

        return [
            self.judge_share(TAP, "short processes with all arguments", "100.0 % of 100,000",
                             lambda v: v[0] == v[1]),
            self.judge_share(NO_TAP, "the same without tap, SCHED_FIFO", ">= 99 %",
                             lambda v: v[0] >= 0.99 * v[1]),
            self.judge_share(SLICE, "the same without tap, slice only", ">= 90 %",
                             lambda v: v[0] >= 0.9 * v[1]),
            ratio_row(TAP, "CPU per lifecycle, x bpftrace (execs only)", "bpftrace (execs only)", 1),
            ratio_row(TAP, "CPU per lifecycle, x bpftrace (fork, exec, exit)", "bpftrace", 1),
            ratio_row(TAP, "CPU per lifecycle, x forkstat", "forkstat", 0.3),
            ratio_row(NO_TAP, "CPU per lifecycle without tap, x forkstat", "forkstat", 1),
            ratio_row(TAP, "wall time of the storm, x no monitor", "none", 1.05, "wall"),
            self.judge_rate(TAP, "events lost at the highest fork rate, 60 s"),
            quiet_row("paced", "50 processes a second, % of a core", "<= 0.3", self.paced.get(TAP), 0.3,
                      "%.2f"),
            self.judge(TAP, "idle, % of a core", "<= 0.02", None if busy else self.idle.get(TAP),
                       most(0.02), "%.3f", busy),
            quiet_row("latency", "event to handler, --delay 0, median, µs", "<= 100", age(0.5), 100, "%.0f"),
            quiet_row("latency", "event to handler, --delay 0, p99, µs", "<= 1000", age(0.99), 1000, "%.0f"),
            self.judge(TAP, "memory of both processes, Pss, MB", "<= 12 with 1,000 alive",
                       None if self.alive < 1000 else weight, lambda w: w["pss"] <= 12,
                       lambda w: "%.1f (Rss %.1f)" % (w["pss"], w["rss"]),
                       self.alive < 1000 and "the longer forms only"),
            self.judge(TAP, "recording a build, bytes an event", "<= 40", self.recorded.get("build"),
                       lambda f: f["bytes"] <= 40, lambda f: "%.1f" % f["bytes"]),
            self.judge(TAP, "recording a storm, µs an event", "<= 1", None if self.form == "smoke" else self.recorded.get("storm"),
                       lambda f: f["ns"] <= 1000, lambda f: "%.2f" % (f["ns"] / 1e3), "the longer forms only"),
            self.judge(TAP, "replay, events a second through a script", ">= 1,000,000",
                       None if self.form == "smoke" else median(self.recorded.get("replay", [])), lambda v: v >= 1e6, "%.0f",
                       "the longer forms only"),
        ]

    def report_targets(self, r):
        note = ["Ratios are medians of those of each round."]
        if self.form == "smoke":
            note.append("The smallest form shows that the benchmark works: its figures and verdicts mean nothing.")
        if self.foreign.get("storm", 0) > 0.1:
            note.append("Not a quiet machine: during a storm others started up to %.0f %% as many processes."
                        % (100 * self.foreign["storm"]))
        r.table("Targets", note, ["", "target", "measured", "verdict"], self.targets())

    def tables(self):
        r = Report()
        self.report_top(r)
        for report, figures in (
                (self.report_cpu, self.storms), (self.report_shares, self.shares),
                (self.report_rates, self.rates), (self.report_latency, self.latency),
                (self.report_memory, self.memory), (self.report_slowdown, self.storms),
                (self.report_recording, self.recorded), (self.report_host, self.host), (self.report_idle, self.idle or self.paced)):
            if figures:
                report(r)
        self.report_targets(r)
        return r
