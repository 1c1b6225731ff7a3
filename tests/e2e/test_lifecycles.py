"""test_lifecycles.py - what happens to a process is told once, in order and right."""
import collections
import os
import random
import re
import signal
import struct
import subprocess

from mwtest import (Act, LeaderFirst, Watch, args_of, at, check, equal, helper, kind, main, note, of, pid_of,
                    proc_stat, scratch, scratch_file, short, test)

# --- 1,000 processes ---------------------------------------------------------------------------

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGPIPE]

# Each of these gives bytes for an argument; a number in front tells the jobs apart.
FLAVOURS = [
    b"", b" ", b"a b  c", b"line one\nline two\n", b"\ttab\rreturn",
    b"\x1b[31mred\x1b[0m\a\b", b"quote ' \" \\ `$x`", "Žluťoučký 漢字 😀".encode(),
    "\u2028\u2029\u202e\u009b".encode(), b"\xff\xfe\x80broken\xc3(", b"\xed\xa0\x80\xc0\xaf",
    b"{\"json\": [1, null]}", b"</script>", b"-", b"--", b"%s%n", b"x" * 200, b"\x7f\x01\x02",
]


def jobs(count, who, argv0=None):
    """[(argv, wait status)]"""
    rng = random.Random(who)
    result = []
    for number in range(count):
        argv = [argv0 or rng.choice([b"act", b"", b"-sh", b"a b", b"\xffname", b"/no/such/file"])]
        argv.append(b"%s-%d" % (who.encode(), number))
        argv += [rng.choice(FLAVOURS) for _ in range(rng.randrange(6))]
        if number % 30 == 7:
            argv.append(rng.randbytes(5 * 1024).replace(b"\0", b"0") if number % 60 == 7
                        else b"L" * 20 * 1024)
        if number % 5 == 4:
            end = rng.choice(SIGNALS)
            argv.append(b"kill:%d" % end)
            result.append((argv, int(end)))
        else:
            code = rng.randrange(256)
            argv.append(b"exit:%d" % code)
            result.append((argv, code << 8))
    return result


def packed(work):
    out = []
    for argv, _ in work:
        out.append(struct.pack("=I", len(argv)))
        out += [struct.pack("=I", len(a)) + a for a in argv]
    return b"".join(out)


class Spawner:
    """helpers/spawn.c with its jobs; afterwards it knows pid and status of each."""

    def __init__(self, how, work):
        self.work = work
        self.process = subprocess.Popen([helper("spawn"), how, helper("act")],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid
        self.process.stdin.write(packed(work))

    def begin(self):
        self.process.stdin.close()

    def ended(self):
        rows = [line.split() for line in self.process.stdout]
        self.process.stdout.close()
        equal(self.process.wait(), 0, "status of the spawner")
        return [(int(pid), int(status)) for pid, status in rows]


class Shell(Spawner):
    """The same from sh, which forks, and tells a signal as 128 and its number."""

    def __init__(self, work):
        self.work = work
        lines = [b"read go"]
        for argv, _ in work:
            words = b" ".join(b"'" + a.replace(b"'", b"'\\''") + b"'" for a in argv[1:])
            lines.append(b"act " + words + b" & echo $!; wait $!; echo $?")
        path = scratch_file("jobs.sh", b"\n".join(lines) + b"\n")
        helper("act")
        env = dict(os.environ, PATH=scratch() + ":" + os.environ["PATH"], LC_ALL="C")
        self.process = subprocess.Popen(["sh", path], env=env, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.process.stdin.write(b"go\n")

    def ended(self):
        numbers = [int(line) for line in self.process.stdout]
        self.process.stdout.close()
        equal(self.process.wait(), 0, "status of the shell")
        return [(pid, code - 128 if work[1] & 0x7f else code << 8)
                for pid, code, work in zip(numbers[::2], numbers[1::2], self.work)]


def status_told(event):
    """The wait status that an exit tells of."""
    code, number = at(event, "process.exit_code"), at(event, "moonwatch.signal")
    check((code is None) != (number is None), f"either code or signal: {event['process']}")
    return number if code is None else code << 8


@test("1,000 short processes of three parents: each fork, exec and exit is told once, with parent, "
      "arguments and status")
def thousand():
    with Watch("--json") as w:
        spawners = [Spawner("fork", jobs(333, "fork")), Spawner("vfork", jobs(333, "vfork")),
                    Shell(jobs(334, "shell", b"act"))]
        for s in spawners:
            s.begin()
        truth = {}
        for s in spawners:
            for (pid, status), (argv, wanted) in zip(s.ended(), s.work, strict=True):
                equal(status, wanted, "status of the helper itself")
                truth[pid] = (s.pid, argv, wanted)
        equal(len(truth), 1000, "processes")

        parents = {s.pid for s in spawners}

        def ours(event):
            return at(event, "process.parent.pid") in parents and pid_of(event) in truth
        w.wait(lambda: sum(kind(e) == "exit" and ours(e) for e in w.events) >= len(truth),
               "the exit of each process")
        w.marker()
        equal(w.stop(), 0, "status")

        told = collections.defaultdict(list)
        for event in w.events:
            if ours(event):
                told[pid_of(event)].append(event)

        exact, sequence = 0, 0
        for pid, (parent, argv, status) in truth.items():
            kinds = [kind(e) for e in told[pid]]
            equal(kinds, ["fork", "exec", "exit"], f"events of {short_args(argv)}")
            fork, execed, exited = told[pid]
            equal({at(e, "process.parent.pid") for e in told[pid]}, {parent}, "parent")
            equal(len({at(e, "process.entity_id") for e in told[pid]}), 1, "identities")
            equal(status_told(exited), status, f"status of {short_args(argv)}")
            exact += args_of(execed) == argv
            if args_of(execed) is not None:
                equal(args_of(execed), argv, "arguments")
                equal(args_of(exited), argv, "arguments in the exit")
        for event in w.events:
            check(at(event, "event.sequence") > sequence, "the numbers of the events grow")
            sequence = at(event, "event.sequence")

        note(f"arguments exact: {exact} of {len(truth)}")
        check(exact >= 0.99 * len(truth), f"only {exact} of {len(truth)} have exact arguments")
        check(" 0 lost (proved)" in w.stderr(), f"nothing was lost: {w.stderr()}")


def short_args(argv):
    return b" ".join(argv)[:80]


# --- changes -----------------------------------------------------------------------------------


def one(w, pid, what, after=0):
    """The only event of this kind and process, once it and a later marker have come."""
    w.wait_event(of(pid, what), f"{what} of {pid}", after=after)
    w.marker()
    found = [e for e in w.events[after:] if of(pid, what)(e)]
    equal(len(found), 1, f"{what} events of {pid}")
    return found[0]


def was(event):
    return at(event, "moonwatch.was")


@test("setresuid and setresgid are told once each, with old and new ids")
def ids():
    with Watch("--json") as w:
        with Act("setresgid:1001,1002,1003 setresuid:2001,2002,2003 wait exit:0") as act:
            gid, uid = one(w, act.pid, "gid"), one(w, act.pid, "uid")
            equal((at(gid, "process.real_group.id"), at(gid, "process.group.id")), ("1001", "1002"), "gid")
            equal(was(gid), {"gid": 0, "egid": 0}, "gid before")
            equal((at(uid, "process.real_user.id"), at(uid, "process.user.id")), ("2001", "2002"), "uid")
            equal(was(uid), {"uid": 0, "euid": 0}, "uid before")
            act.end()
            exited = one(w, act.pid, "exit")
            equal([at(exited, f"process.{k}.id") for k in ("real_user", "user", "real_group", "group")],
                  ["2001", "2002", "1001", "1002"], "ids at the exit")
        equal(at(uid, "event.action"), "uid_change", "action")


@test("setsid is told once, with the old session")
def session():
    with Watch("--json") as w, Act("setsid wait exit:0") as act:
        event = one(w, act.pid, "sid")
        equal(at(event, "process.session_leader.pid"), act.pid, "session")
        equal(was(event), {"sid": os.getsid(0)}, "session before")


@test("PR_SET_NAME is told once, with the old name")
def comm():
    with Watch("--json") as w, Act("name:new%20name wait exit:0") as act:
        event = one(w, act.pid, "comm")
        equal(at(event, "process.name"), "new name", "name")
        equal(was(event), {"comm": "act"}, "name before")
        act.end()
        equal(at(one(w, act.pid, "exit"), "process.name"), "new name", "name at the exit")


@test("an exec tells of the program and the name before")
def before_exec():
    with Watch("--json") as w:
        shell = subprocess.Popen(["sh", "-c", f"read x; exec {helper('act')} 'exit:3'"],
                                 stdin=subprocess.PIPE)
        w.wait_event(of(shell.pid, "exec"), "the shell's exec")
        begin = len(w.events)
        shell.communicate(b"\n")
        event = w.wait_event(of(shell.pid, "exec"), "the second exec", after=begin)
        equal(at(event, "process.previous.executable"), os.path.realpath("/bin/sh"), "program before")
        equal(was(event), {"comm": "sh"}, "name before")
        equal(at(event, "process.executable"), helper("act"), "program")
        equal(at(event, "moonwatch.execs"), 2, "execs")


@test("ptrace is told once at the attach, with the tracer, and once at the end of it")
def ptrace():
    with Watch("--json") as w, Act("wait exit:0") as target:
        with Act(f"attach:{target.pid} say:attached wait detach:{target.pid} say:let-go wait") as tracer:
            equal(tracer.said()[0], "attached", "the tracer")
            event = one(w, target.pid, "ptrace")
            equal(at(event, "moonwatch.tracer"), tracer.pid, "tracer")
            begin = len(w.events)
            tracer.go()
            equal(tracer.said()[0], "let-go", "the tracer")
            equal(at(one(w, target.pid, "ptrace", begin), "moonwatch.tracer"), 0, "tracer")


@test("a core dump is told once, and the exit after it knows the signal and the dump")
def coredump():
    with Watch("--json") as w, Act("wait crash", cwd=scratch()) as act:
        act.go()
        status = act.process.wait()
        begun, exited = one(w, act.pid, "coredump"), one(w, act.pid, "exit")
        check(w.events.index(begun) < w.events.index(exited), "the dump comes first")
        equal(at(exited, "moonwatch.signal"), signal.SIGSEGV, "signal")
        equal(at(exited, "process.exit_code"), None, "code")
        equal(status, -signal.SIGSEGV, "status of the helper itself")
        dumped = os.path.exists(scratch() + "/core") or os.path.exists(f"{scratch()}/core.{act.pid}")
        if dumped:
            equal(at(exited, "moonwatch.core"), True, "core")
        else:
            note("no core file in the working directory: core_pattern leads elsewhere")


# --- threads -----------------------------------------------------------------------------------


def family(w, pid, begin=0):
    return [e for e in w.events[begin:] if pid_of(e) == pid]


@test("when the main thread ends first, the one exit comes at the end of the process, with its code")
def leader_first():
    with Watch("--json") as w, LeaderFirst(7) as p:
        p.end_main_thread()
        w.marker()
        w.marker()
        equal([kind(e) for e in family(w, p.pid)], ["fork", "exec"], "events before the end")
        equal(p.end(), 7, "status of the helper itself")
        w.wait_event(of(p.pid, "exit"), "the exit")
        w.marker()
        equal([kind(e) for e in family(w, p.pid)], ["fork", "exec", "exit"], "events")
        exited = family(w, p.pid)[-1]
        if at(exited, "moonwatch.missing.code") is None:
            equal(at(exited, "process.exit_code"), 7, "code")


@test("when the main thread ends first and the rest is gone before moonwatch looks, the code is right "
      "or missing, never made up")
def leader_first_unseen():
    with Watch("--json") as w:
        for wanted, by in ((7 << 8, None), (9, signal.SIGKILL)):
            with LeaderFirst(7) as p:
                p.end_main_thread()
                w.marker()
                with w.stopped():  # the process ends and is reaped meanwhile
                    p.end(by)
                exited = w.wait_event(of(p.pid, "exit"), "the exit")
                if at(exited, "moonwatch.missing.code") is None:
                    equal(status_told(exited), wanted, "status")


@test("an exec by another than the main thread is an exec and no exit, 50 times")
def exec_in_thread():
    with Watch("--json") as w:
        pids = []
        for turn in range(50):
            p = subprocess.Popen([helper("threads"), "exec", helper("act"), "from a thread",
                                  f"turn {turn}", "exit:5"])
            equal(p.wait(), 5, "status of the helper itself")
            pids.append(p.pid)
        for turn, pid in enumerate(pids):
            w.wait_event(of(pid, "exit"), f"exit {turn}")
        w.marker()
        for turn, pid in enumerate(pids):
            events = family(w, pid)
            equal([kind(e) for e in events], ["fork", "exec", "exec", "exit"], f"events of turn {turn}")
            equal(args_of(events[2]), [b"from a thread", b"turn %d" % turn, b"exit:5"], "arguments")
            equal(at(events[3], "process.exit_code"), 5, "code")


THREADS = """
local mw = require "moonwatch"
local function tell(ev)
  if ev.tid ~= ev.pid then mw.emit { thread = ev.type, pid = ev.pid, tid = ev.tid, to = "%s" } end
end
return mw.script { name = "%s", %s on = { any = tell, exec = mw.where { comm = "act" } (mw.emit) } }
"""


@test("events of threads: none by default, each for a script with `threads = true`, and for no other")
def thread_events():
    asks, other = THREADS % ("asks", "asks", "threads = true,"), THREADS % ("other", "other", "")
    for scripts in ([asks], [other], [asks, other]):
        with Watch("--json", scripts=scripts) as w:
            p = subprocess.Popen([helper("threads"), "create", "100"])
            equal(p.wait(), 0, "status of the helper itself")
            w.marker()
            w.marker()
            found = collections.Counter((e["to"], e["thread"]) for e in w.events if e.get("pid") == p.pid)
            wanted = {("asks", "fork"): 100, ("asks", "exit"): 100} if asks in scripts else {}
            equal(found, wanted, "events of threads")
    with Watch("--json") as w:
        p = subprocess.Popen([helper("threads"), "create", "100"])
        p.wait()
        w.wait_event(of(p.pid, "exit"), "the exit")
        equal([e for e in w.events if at(e, "process.thread.id") not in (None, pid_of(e))], [], "events of threads")


# --- identity and parents ----------------------------------------------------------------------


@test("the parent is told as of the fork, also when it has become something else or has exited")
def parents():
    with Watch("--json") as w:
        with Act("say:parent name:as-it-was child say:child wait exec:grown wait exit:3 "
                 "| wait exec:another wait exit:0") as act:
            parent, child = act.said(), act.said()
            check(parent[0] == "parent" and child[0] == "child", "the helper")
            pid, above = int(child[1]), int(parent[1])
            fork = w.wait_event(of(pid, "fork"), "the fork")
            # one line for each of the two that wait, then again: the parent ends, the child execs
            for _ in range(4):
                act.go()
            w.wait_event(of(above, "exit"), "the parent's exit")
            exited = w.wait_event(of(pid, "exit"), "the child's exit")
            events = family(w, pid)
            equal([kind(e) for e in events], ["fork", "exec", "exit"], "events of the child")
            for e in events:
                equal(at(e, "process.parent.pid"), above, f"parent in {kind(e)}")
                equal(at(e, "process.parent.name"), "as-it-was", f"parent's name in {kind(e)}")
                equal(at(e, "process.parent.entity_id"), at(family(w, above)[0], "process.entity_id"),
                      "parent's identity")
            equal(len({at(e, "process.entity_id") for e in events}), 1, "identities of the child")
            equal(at(exited, "process.exit_code"), 3, "code")
            equal(at(fork, "process.name"), "as-it-was", "name at the fork is the parent's")
            check(at(events[1], "process.entity_id") != at(events[1], "process.parent.entity_id"),
                  "two processes have two identities")
            execs = [e for e in family(w, above) if kind(e) == "exec"]
            equal([args_of(e)[0] for e in execs], [b"act", b"another"], "what the parent became")
            equal([at(e, "process.name") for e in execs], ["act", "act"], "its names")


@test("the identity made at a fork is that of /proc, for 999 of 1,000 processes at least")
def same_identity():
    with Watch("--json", lines=['fork: parent and parent.comm == "many" => mw.emit { born = pid, id = id }']) as w:
        p = subprocess.Popen([helper("many"), "3000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            equal(p.stdout.readline(), b"ready\n", "the helper")
            w.wait(lambda: len([e for e in w.events if "born" in e]) >= 3000, "3,000 forks")
            told = {e["born"]: int(e["id"].split("-")[2]) for e in w.events if "born" in e}
            truth = {pid: int(proc_stat(pid)[1][19]) for pid in told}
        finally:
            p.communicate()
        wrong = {pid: (told[pid], truth[pid]) for pid in told if told[pid] != truth[pid]}
        note(f"{len(wrong)} of {len(told)} differ by a tick")
        # the kernel stamps the fork a little after the start, and a tick may begin in between
        check(len(wrong) * 1000 <= len(told), f"start, told and in /proc: {short(wrong)}")


@test("an orphan keeps the parent that forked it")
def orphan():
    script = """
local mw = require "moonwatch"
return mw.script { name = "orphan", on = { exec = mw.where { cmdline = mw.prefix "orphaned " } (function(ev)
  local chain = {}
  for p in ev:ancestors() do chain[#chain + 1] = { pid = p.pid, comm = p.comm, id = p.id } end
  mw.emit { orphan = ev.pid, ppid = ev.ppid, chain = chain, id = ev.id }
end) } }
"""
    with Watch("--json", scripts=[script]) as w:
        with Act("say:parent orphan say:orphan wait exec:orphaned exit:0") as act:
            above, pid = int(act.said()[1]), int(act.said()[1])
            act.process.wait()
            w.marker()
            act.go()
            event = w.wait_event(lambda e: e.get("orphan") == pid, "the orphan's exec")
            equal(event["ppid"], above, "ppid")
            equal([p["pid"] for p in event["chain"][:2]], [above, os.getpid()], "ancestors")
            equal(event["chain"][0]["comm"], "act", "the parent's name")
            check(re.fullmatch(r"[0-9a-f]{16}-%d-\d+" % pid, event["id"]), event["id"])
            start = proc_stat(os.getpid())[1][19].decode()
            check(event["chain"][1]["id"].endswith(f"-{os.getpid()}-{start}"),
                  "the identity is made of pid and start")


if __name__ == "__main__":
    main()
