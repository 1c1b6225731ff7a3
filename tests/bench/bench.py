"""Drive the same storms of short processes against moonwatch in several forms, forkstat, extrace,
bpftrace and a program that only empties the socket, in turns, and print what each one cost, saw and
kept; at the end, each target with what was measured.

    tests/bench/run [--rounds N] [--quick | --smoke] [--peers NAME,...] [--out DIR] [--publish]

Needs root. MOONWATCH names the binary (build/moonwatch). bench.md (the same tables) and bench.svg go
to DIR, where the binary is; --publish also writes the plot that the README shows. The whole takes
eight to twelve minutes, --quick less than two; --smoke measures nothing and only shows that all of
it works.

A peer that is not installed is named and left out. So is a form of moonwatch that runs as another
one does (a source that cannot be had here), and a tool that fails twice: the others go on.

Nothing waits for time but what is paced by time on purpose (latency, idle, 50 processes a second).
A tool is ready when marker processes wake it up or show in its output; it has drained when the
kernel's queue of its socket is empty and all its threads sleep.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import plot
from figures import FLIGHT, NO_TAP, SLICE, TAP, Figures, percent, read
from tools import (BPFTRACE, BPFTRACE_EXECS, COUNT, LATENCY, LOOK, PATIENCE_S, SCRIPT, SHOW, TROUBLE,
                   WITH_TRACEFS, Failed, Tool, cpu_ns, family, forks_so_far, living_processes, memory_kib)

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# The storms have three spawners. `many`: processes of the longest one; `rate_s`: how long the machine
# starts as many as it can; `budget_s`: rounds are left out when they would take longer.
FORMS = {
    "full": dict(rounds=5, per_spawner=1000, beats=500, idle_s=10, pace_s=5, alive=1000,
                 many=100000, rate_s=60, budget_s=720),
    "quick": dict(rounds=2, per_spawner=300, beats=150, idle_s=4, pace_s=2, alive=1000,
                  many=0, rate_s=0, budget_s=120),
    "smoke": dict(rounds=1, per_spawner=20, beats=20, idle_s=0.2, pace_s=0.4, alive=20,
                  many=90, rate_s=1, budget_s=15),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


# The forms of moonwatch, and the options that make them. Its flight recorder is a form of its own: no peer has one.
VARIANTS = (
    (TAP, []),
    (FLIGHT, ["--flight", "256M"]),
    ("moonwatch, JSON", ["--json"]),
    ("moonwatch, delay 0", ["--delay", "0"]),
    (NO_TAP, ["--without", "tap"]),
    ("moonwatch, no taskstats", ["--without", "tap,taskstats"]),
    (SLICE, ["--without", "tap", "--priority", "slice"]),
    ("moonwatch --single", ["--single"]),
)


class Bench(Figures):
    def __init__(self, options):
        self.form = "smoke" if options.smoke else "quick" if options.quick else "full"
        for name, value in FORMS[self.form].items():
            setattr(self, name, value)
        self.rounds = options.rounds or self.rounds
        self.publish = options.publish
        self.peers = options.peers
        self.moonwatch = os.path.abspath(
            os.environ.get("MOONWATCH", os.path.join(ROOT, "build/moonwatch")))
        self.out = options.out or os.path.dirname(self.moonwatch)
        self.running, self.missing, self.trouble = [], [], []
        self.marks = 0
        self.lost, self.took = {}, {}
        self.storms, self.shares, self.many_shares, self.rates, self.latency = {}, {}, {}, {}, {}
        self.memory, self.idle, self.paced, self.host, self.recorded = {}, {}, {}, {}, {}
        self.absent = {}   # form of moonwatch: why there is none
        self.foreign = {}  # phase: the most processes that others started meanwhile, for one of ours
        self.living = self.idle_foreign = 0

    def note(self, line):
        if line not in self.trouble:
            say(line)
            self.trouble.append(line)

    # --- helpers in C, and tools ----------------------------------------------------------------

    def compile(self, name, *more):
        """Its name is ours alone: another benchmark may be running."""
        out = os.path.join(self.temp, "%s-%d" % (name, os.getpid()))
        subprocess.run([os.environ.get("CC", "gcc"), "-std=gnu11", "-O2", "-D_GNU_SOURCE",
                        "-o", out, os.path.join(HERE, name + ".c"), *more], check=True)
        return out

    def script(self, name):
        return os.path.join(self.temp, name)

    def build(self):
        self.tiny = self.compile("tiny", "-static")
        self.storm_helper = self.compile("storm")
        self.drain_helper = self.compile("drain")
        for name, text in (("args.lua", SCRIPT), ("show.lua", SHOW), ("count.lua", COUNT),
                           ("latency.lua", LATENCY), ("replay.lua", LOOK)):
            text = text.replace("TINY", os.path.basename(self.tiny))
            with open(self.script(name), "w") as f:
                f.write(text.replace("STORM", os.path.basename(self.storm_helper)))

    def run_words(self, options, script):
        flight = [] if "--flight" in options else ["--flight", "none"]
        return [self.moonwatch, "run", *flight, "--state-dir", os.path.join(self.temp, "state"), *options, self.script(script)]

    def find_moonwatch(self, name, options):
        """A form of moonwatch, unless it runs as one that is there already."""
        def apart(words):
            return [word for word in words if word not in ("--without", "--priority")
                    and words[words.index(word) - 1] not in ("--without", "--priority")]

        done = subprocess.run(self.run_words([*options, "--for", "100ms"], "args.lua"),
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE_S)
        found = re.search(r"sources (.*?); priority (.*)", done.stderr)
        if not found:
            self.absent[name] = "status %d: %s" % (done.returncode, done.stderr.strip()[-300:])
            return
        for other in self.tools:
            if found.groups() == (other.sources, other.priority) and (
                    apart(options) == apart(other.options)):
                self.absent[name] = "it runs as '%s' does" % other.name
                return
        if "--json" in options:
            tool = Tool(name, [self.moonwatch, *options], [self.moonwatch, *options])
        else:
            tool = Tool(name, self.run_words(options, "args.lua"), self.run_words(options, "show.lua"))
        tool.options = options
        tool.sources, tool.priority = found.groups()
        self.tools.append(tool)

    def find_tools(self):
        self.tools = []
        for name, options in VARIANTS:
            if self.form != "smoke" or name in (TAP, NO_TAP):
                self.find_moonwatch(name, options)
        for name, why in self.absent.items():
            self.note("%s: left out: %s" % (name, why))
        bpftrace = WITH_TRACEFS + ["bpftrace", "-e"]
        for name, peer, words, capture in (
                ("forkstat", "forkstat", ["forkstat", "-e", "fork,exec,exit"],
                 ["forkstat", "-l", "-e", "fork,exec,exit"]),
                ("extrace (execs only)", "extrace", ["extrace"], ["extrace", "-f"]),
                ("bpftrace", "bpftrace", bpftrace + [BPFTRACE], bpftrace + [BPFTRACE]),
                ("bpftrace (execs only)", "bpftrace", bpftrace + [BPFTRACE_EXECS],
                 bpftrace + [BPFTRACE_EXECS])):
            if peer not in self.peers:
                continue
            if shutil.which(peer):
                self.tools.append(Tool(name, words, capture, peer))
            elif peer not in self.missing:
                self.missing.append(peer)
        self.tools.append(Tool("floor", [self.drain_helper]))

    def able(self):
        return [tool for tool in self.tools if tool.failures < 2]

    def attempt(self, what, measure, tool):
        """What `measure` finds, or nothing where the tool fails."""
        try:
            return measure(tool)
        except TROUBLE as trouble:
            tool.abandon(self)
            tool.failures += 1
            self.note("%s failed (%s): %s%s" % (
                tool.name, what, trouble, "; left out from here on" if tool.failures == 2 else ""))
            return None

    def disturbed(self, phase, share):
        self.foreign[phase] = max(self.foreign.get(phase, 0), share)

    @contextlib.contextmanager
    def watch_others(self, phase, own):
        """Note how many processes others start while we start `own`."""
        before = forks_so_far()
        yield
        self.disturbed(phase, max(0, forks_so_far() - before - own - 10) / own)

    def turns(self, what, share):
        """The rounds, as many as there is time for until this share of the budget is used."""
        for i in range(self.rounds):
            if i >= 2 and time.monotonic() - self.began > share * self.budget_s:
                self.note("%s: %d rounds of %d, for lack of time" % (what, i, self.rounds))
                return
            say("%s, round %d of %d" % (what, i + 1, self.rounds))
            yield i

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
                    time.sleep(0.001)
            marker.stdin.close()
        return mark.encode() in seen

    def storm(self, spawners, count, tag, gap_us=0):
        """Seconds that it took, and how many processes were started."""
        out = subprocess.run([self.storm_helper, self.tiny, str(spawners), str(count), tag,
                              str(gap_us)], check=True, stdout=subprocess.PIPE)
        ns, started = map(int, out.stdout.split())
        return ns / 1e9, started

    @contextlib.contextmanager
    def many_alive(self):
        """Processes that do nothing but live."""
        ours, theirs = os.pipe(), []
        try:
            for _ in range(self.alive):
                theirs.append(os.posix_spawn(self.tiny, [self.tiny, "wait"], os.environ,
                                             file_actions=[(os.POSIX_SPAWN_DUP2, ours[0], 0)]))
            yield
        finally:
            os.close(ours[1])
            for pid in theirs:
                os.waitpid(pid, 0)
            os.close(ours[0])

    # --- losses ---------------------------------------------------------------------------------

    def note_losses(self, tool, drops, said):
        own, kernel = self.lost.setdefault(tool.name, [None, None])
        number = re.search(r"([\d,]+) lost \(proved\)", said)
        number = number or re.search(r"([\d,]+) dropped by the kernel", said)
        if tool.peer == "bpftrace":
            lost = sum(int(n) for n in re.findall(r"Lost (\d+) events", said))
            self.lost[tool.name] = [(own or 0) + lost, None]
            return
        if number:
            own = (own or 0) + int(number.group(1).replace(",", ""))
        missed = re.search(r"([\d,]+) missed by slow scripts", said)
        if missed:
            self.note("%s: %s" % (tool.name, missed.group(0)))
        self.lost[tool.name] = [own, (kernel or 0) + drops]

    # --- the storm with output to nowhere: time, and how it slows down the storm ------------------

    def storm_alone(self):
        return {"wall": self.storm(3, self.per_spawner, "s")[0]}

    def storm_watched(self, tool):
        tool.start(self)
        tool.await_ready(self)
        before = tool.cpu_each()
        wall, _ = self.storm(3, self.per_spawner, "s")
        tool.drain(self)
        parts = [cpu - before.get(pid, 0) for pid, cpu in tool.cpu_each().items()]
        drops = tool.drops()
        said = tool.stop(self)
        self.note_losses(tool, drops, said)
        named = re.search(r"args ([\d.]+) %", said)
        lifecycles = 3 * self.per_spawner
        return {"wall": wall, "cpu": sum(parts) / 1e3 / lifecycles,
                "parts": [p / 1e3 / lifecycles for p in parts],
                "named": float(named.group(1)) if named else None}

    def storm_once(self, tool):
        """Again, once, when others on the machine started many processes meanwhile."""
        own = 3 * self.per_spawner
        for _ in range(2):
            before = forks_so_far()
            result = self.storm_watched(tool) if tool else self.storm_alone()
            result["foreign"] = max(0, forks_so_far() - before - own - 40) / own
            if result["foreign"] < 0.1:
                break
        self.disturbed("storm", result["foreign"])
        return result

    def measure_storms(self):
        """Every tool has a result for every round, an empty one where it failed."""
        self.storms = {name: [] for name in ["none"] + [tool.name for tool in self.tools]}
        for i in self.turns("storm", 0.25):
            order = [None] + self.tools
            turn = i % len(order)
            for tool in order[turn:] + order[:turn]:
                if not tool:
                    result = self.storm_once(None)
                elif tool.failures < 2:
                    result = self.attempt("storm", self.storm_once, tool)
                else:
                    result = None
                self.storms[tool.name if tool else "none"].append(result or {})

    # --- how many short processes have all their arguments ---------------------------------------

    def whole(self, path):
        """Distinct processes of which the output has every argument."""
        tag = "parallel%d" % os.getpid()
        text = read(path).replace('","', " ").replace("'", "")  # JSON; extrace quotes
        pattern = (r"%s-(\d+)-(\d+) --option=value /some/path/of/a/file end-%s-\1-\2(?!\d)"
                   % (tag, tag))
        return len(set(re.findall(pattern, text)))

    def count_whole(self, tool, per_spawner):
        """(processes shown whole, processes, seconds, what it said)"""
        path = os.path.join(self.temp, "output")
        with open(path, "w") as output:
            tool.start(self, output)
            tool.await_marker(self, path)
            seconds, started = self.storm(3, per_spawner, "parallel%d" % os.getpid())
            tool.await_marker(self, path)
            drops = tool.drops()
            said = tool.stop(self)
        said += "\n".join(re.findall(r"Lost \d+ events", read(path)))
        self.note_losses(tool, drops, said)
        whole = self.whole(path)
        os.unlink(path)
        return whole, started, seconds

    def measure_shares(self):
        self.shares = {tool.name: [] for tool in self.able() if tool.capture}
        for i in self.turns("arguments", 0.5):
            tools = [tool for tool in self.able() if tool.capture]
            turn = i % max(1, len(tools))
            for tool in tools[turn:] + tools[:turn]:
                found = self.attempt("arguments", lambda t: self.count_whole(t, self.per_spawner), tool)
                if found:
                    self.shares[tool.name].append(percent(found[0], found[1]))

    def measure_many(self):
        """Once, and only where there is a target."""
        if not self.many:
            return
        for name in (TAP, NO_TAP, SLICE):
            tool = self.tool(name)
            if tool in self.able():
                say("arguments of %d processes: %s" % (self.many, name))
                found = self.attempt("arguments of many",
                                     lambda t: self.count_whole(t, -(-self.many // 3)), tool)
                if found:
                    self.many_shares[name] = found

    # --- as many processes as the machine can start -----------------------------------------------

    def count_at_most(self, name, options, seconds):
        tool = Tool(name, self.run_words(options, "count.lua"))
        path = os.path.join(self.temp, "count")

        def measure(_):
            with open(path, "w") as output:
                tool.start(self, output)
                tool.await_ready(self)
                took, started = self.storm(2 * os.cpu_count(), "%ds" % seconds, "max")
                tool.drain(self)
                drops = tool.drops()
                said = tool.stop(self)
            self.note_losses(self.tool(name), drops, said)
            lost = re.search(r"([\d,]+) lost \(proved\)", said)
            missed = re.search(r"([\d,]+) missed by slow scripts", said)
            number = [int(m.group(1).replace(",", "")) if m else 0 for m in (lost, missed)]
            if not lost:
                raise Failed("its summary does not speak of losses: " + said[-300:])
            return {"seconds": took, "started": started, "told": int(read(path).split()[-1]),
                    "lost": number[0], "drops": drops, "missed": number[1]}

        return self.attempt("as many as can be", measure, tool)

    def measure_rates(self):
        if not self.rate_s:
            return
        for name, seconds in ((TAP, self.rate_s), (NO_TAP, min(self.rate_s, 20))):
            tool = self.tool(name)
            if tool in self.able():
                say("as many processes as can be, for %d s: %s" % (seconds, name))
                found = self.count_at_most(name, tool.options, seconds)
                if found:
                    self.rates[name] = found

    # --- from the kernel's stamp to the handler ---------------------------------------------------

    def ages(self, tool):
        path = os.path.join(self.temp, "ages")
        with open(path, "w") as output:
            tool.start(self, output)
            tool.await_ready(self)
            with self.watch_others("latency", self.beats):
                self.storm(1, self.beats, "beat", 5000)
            tool.drain(self)
            tool.stop(self)
        found = [float(age) for age in read(path).split()]
        if len(found) < self.beats / 2:
            raise Failed("%d of %d events" % (len(found), self.beats))
        return found

    LATENCIES = (("moonwatch --delay 0", TAP, ["--delay", "0"]),
                 ("moonwatch --delay 0, no tap", NO_TAP, ["--delay", "0", "--without", "tap"]),
                 ("moonwatch --delay 0 --single", TAP, ["--delay", "0", "--single"]),
                 ("moonwatch", TAP, []))

    def measure_latency(self):
        tools = [Tool("floor: read from the socket", [self.drain_helper, "-l"])]
        tools += [Tool(name, self.run_words([*options, "--trusted"], "latency.lua"))  # for its clock
                  for name, form, options in self.LATENCIES if self.tool(form)]
        self.latency = {tool.name: [] for tool in tools}
        rounds = min(self.rounds, 3)
        for i in range(rounds):
            say("latency, round %d of %d" % (i + 1, rounds))
            for tool in tools:
                found = self.attempt("latency", self.ages, tool) if tool.failures < 2 else None
                if found:
                    self.latency[tool.name].append(found)

    # --- little to do -----------------------------------------------------------------------------

    def share_of_core(self, tools, wait):
        """Percent of one core for each while `wait` runs."""
        before = {tool: sum(tool.cpu_each().values()) for tool in tools}
        began = time.monotonic()
        wait()
        took = time.monotonic() - began
        return {tool.name: 100 * (sum(tool.cpu_each().values()) - before[tool]) / 1e9 / took
                for tool in tools}

    def start_ready(self, tool):
        tool.start(self)
        tool.await_ready(self)
        return tool

    def measure_idle(self):
        """All at once: nothing happens that they could disturb each other with."""
        say("idle, %g s, all tools at once" % self.idle_s)
        started = [tool for tool in self.able() if self.attempt("idle", self.start_ready, tool)]
        before = forks_so_far()
        self.idle = self.share_of_core(started, lambda: time.sleep(self.idle_s))
        self.idle_foreign = forks_so_far() - before
        for tool in started:
            self.attempt("idle", lambda t: t.stop(self), tool)

    def pace(self, tool):
        self.start_ready(tool)
        count = int(50 * self.pace_s)
        with self.watch_others("paced", count):
            found = self.share_of_core([tool], lambda: self.storm(1, count, "pace", 20000))[tool.name]
        tool.stop(self)
        return found

    def measure_paced(self):
        say("50 processes a second, %g s for each tool" % self.pace_s)
        for tool in self.able():
            found = self.attempt("50 processes a second", self.pace, tool)
            if found is not None:
                self.paced[tool.name] = found

    # --- memory -----------------------------------------------------------------------------------

    def weigh(self, tool):
        self.start_ready(tool)
        self.storm(3, min(self.per_spawner, 300), "s")
        tool.drain(self)
        pids = tool.pids()
        pss, rss = (sum(kib) * 1024 / 1e6 for kib in zip(*map(memory_kib, pids)))
        tool.stop(self)
        return {"pss": pss, "rss": rss, "processes": len(pids)}

    def measure_memory(self):
        say("memory, with %d processes alive" % self.alive)
        with self.many_alive():
            self.living = living_processes()
            for tool in self.able():
                found = self.attempt("memory", self.weigh, tool)
                if found:
                    self.memory[tool.name] = found

    # --- behind the socket ------------------------------------------------------------------------

    def measure_host(self):
        programs = [os.path.join(os.path.dirname(self.moonwatch), "test/bench", name)
                    for name in ("bench_host", "bench_json")]
        if self.form == "smoke":
            return
        if not all(map(os.path.exists, programs)):
            self.note("host figures left out: `make benches` builds what they need")
            return
        say("host")
        out = subprocess.run([programs[0], "2" if self.form == "quick" else "5"],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in out.splitlines():
            name, *numbers = line.split()
            self.host[name] = [float(n) for n in numbers]
        out = subprocess.run([programs[1]], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = re.search(r"^exec, all fields, parent\s+(\d+) ns.*min (\d+), max (\d+)", out, re.M)
        if found:
            self.host["json"] = [float(n) for n in found.groups()]

    # --- recording ----------------------------------------------------------------------------------

    def record(self, path, act):
        """Record what happens during `act`; the processor time of the process that writes it, in ns."""
        watch = subprocess.Popen([self.moonwatch, "record", "-o", path], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True)
        while not (os.path.exists(path) and os.path.getsize(path)):
            if watch.poll() is not None:
                raise Failed("recording: " + watch.stderr.read())
            time.sleep(0.01)
        writer = next(pid for pid in family(watch.pid) if read("/proc/%d/comm" % pid) == "moonwatch-rec\n")
        act()
        time.sleep(1.5)  # it writes once a second
        spent = cpu_ns(writer)
        watch.send_signal(signal.SIGINT)
        said = watch.communicate(timeout=PATIENCE_S)[1]
        found = re.search(r"recorded ([\d,]+) events in ([\d,]+) bytes", said)
        if watch.returncode or not found:
            raise Failed("recording: " + said)
        events, size = (int(number.replace(",", "")) for number in found.groups())
        return {"events": events, "bytes": size / events, "ns": spent / events}

    def compile_some(self):
        """A build, as large as this form of the benchmark: of ours, elsewhere."""
        rooms = "event" if self.form == "smoke" else "base event collect ring record sink host"
        objects = [os.path.join(self.temp, "b/obj", room, name[:-2] + ".o") for room in rooms.split()
                   for name in sorted(os.listdir(os.path.join(ROOT, "src", room)))
                   if name.endswith(".c") and not name.endswith(".bpf.c") and name not in ("tap.c", "library.c")]
        subprocess.run(["make", "-s", "-j2", "-C", ROOT, "BUILD=" + os.path.join(self.temp, "b"), *objects], check=True,
                       stdout=subprocess.DEVNULL)

    def replay(self, path):
        """Events a second, by processor time: through a script that looks at each exec."""
        rates = []
        for _ in range(self.rounds if self.form != "smoke" else 1):
            before = os.times()
            done = subprocess.run([self.moonwatch, "replay", path, self.script("replay.lua")], check=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            after = os.times()
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            events = int(re.search(r"(\d+) events of", done.stderr).group(1))
            rates.append(events / max(spent, 0.01))
        return rates

    def measure_recording(self):
        say("recording")
        build, storm = self.script("build.mwr"), self.script("storm.mwr")
        self.recorded["build"] = self.record(build, self.compile_some)
        count = 10000 if self.form == "full" else 10 * self.per_spawner
        self.recorded["storm"] = self.record(storm, lambda: self.storm(3, count, "r"))
        self.recorded["replay"] = self.replay(storm)

    # --- where it goes ----------------------------------------------------------------------------

    def write(self, path, text):
        with open(path, "w") as f:
            f.write(text)
        if os.path.dirname(path) == HERE:  # in the tree: not root's
            owner = os.stat(HERE)
            os.chown(path, owner.st_uid, owner.st_gid)

    def draw(self):
        rows = [plot.Row(tool.name, not tool.peer, self.column(tool.name, "cpu"),
                         self.shares.get(tool.name, []))
                for tool in self.tools if tool.name != "floor"]
        return plot.draw(rows, [v for v in self.column("floor", "cpu") if v is not None], [
            "Linux %s, %d processors; 3 spawners of a static program that returns at once, %d processes, "
            "%d rounds in turns." % (".".join(os.uname().release.split(".")[:2]), os.cpu_count(),
                                     3 * self.per_spawner, len(self.storms.get("none", []))),
            "Bars end at the median, whiskers at the least and the most. What is done inside the watched "
            "processes is not counted."])

    def report(self):
        r = self.tables()
        print("\n".join(r.text))
        self.write(os.path.join(self.out, "bench.md"),
                   re.sub(r"\n{3,}", "\n\n", "\n".join(r.markdown)).rstrip() + "\n")
        picture = self.draw()
        self.write(os.path.join(self.out, "bench.svg"), picture)
        if self.publish:
            self.write(os.path.join(HERE, "figures.svg"), picture)

    # --- all of it --------------------------------------------------------------------------------

    def run(self):
        self.began = time.monotonic()
        self.load_before = " ".join(read("/proc/loadavg").split()[:3])
        self.build()
        self.find_tools()
        for name, measure in (
                ("storms", self.measure_storms), ("arguments", self.measure_shares),
                ("long storm", self.measure_many), ("highest rate", self.measure_rates),
                ("latency", self.measure_latency), ("idle", self.measure_idle),
                ("paced", self.measure_paced), ("memory", self.measure_memory),
                ("recording", self.measure_recording), ("host", self.measure_host)):
            began = time.monotonic()
            try:
                measure()
            except TROUBLE as trouble:
                self.note("%s left out: %s" % (name, trouble))
            self.took[name] = time.monotonic() - began
        self.report()

    def end(self):
        for tool in self.running[:]:
            tool.abandon(self)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="how often each tool gets each storm (5)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--quick", action="store_true", help="2 rounds, smaller storms, no long ones")
    form.add_argument("--smoke", action="store_true", help="hardly anything, and without peers")
    parser.add_argument("--peers", help="which ones (forkstat,extrace,bpftrace)")
    parser.add_argument("--out", help="where bench.md and bench.svg go (beside the binary)")
    parser.add_argument("--publish", action="store_true", help="write tests/bench/figures.svg as well")
    options = parser.parse_args()
    if options.publish and options.smoke:
        parser.error("--smoke measures nothing that could be published")
    if options.peers is None:
        options.peers = "" if options.smoke else "forkstat,extrace,bpftrace"
    options.peers = options.peers.split(",")

    bench = Bench(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended by a signal"))  # ends the tools too
    if os.geteuid() != 0:
        sys.exit("bench: needs root: the process connector and the peers do")
    if not os.access(bench.moonwatch, os.X_OK):
        sys.exit("bench: no %s: run make, or name it with MOONWATCH" % bench.moonwatch)
    with tempfile.TemporaryDirectory(prefix="moonwatch-bench.") as bench.temp:
        os.chmod(bench.temp, 0o755)
        try:
            bench.run()
        except TROUBLE as trouble:
            sys.exit("bench: %s" % trouble)
        finally:
            bench.end()


if __name__ == "__main__":
    main()
