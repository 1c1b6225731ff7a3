"""test_cli.py - the binary as its users meet it: options, statuses, scripts, output, the terminal."""
import collections
import ctypes
import fcntl
import hashlib
import json
import os
import pty
import pwd
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unicodedata

from mwtest import (ROOT, DEADLINE, MARKER, MOONWATCH, Act, Failed, Watch, args_of, at, check, environment, equal,
                    helper, kind, main, note, of, pid_of, proc_read, proc_stat, proc_status, run, scratch,
                    scratch_file, short, test, unique)

SUMMARY = re.compile(r"^moonwatch: [\d,]+ events in [\d.]+ s, [\d,]+ lost \(proved\)", re.M)


class Spawning:
    """Meanwhile something starts a short process again and again."""

    def __enter__(self):
        self.process = subprocess.Popen([helper("storm"), "1000000", helper("act"), "exit:0"])

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def script(body, name="test", on="", options=""):
    return f'local mw = require "moonwatch"\n{body}\nreturn mw.script {{ name = "{name}", {options} on = {{ {on} }} }}\n'


# --- exit statuses and ends --------------------------------------------------------------------


@test("status 0: --for ends the watch in time, with the summary; -q has none")
def for_ends():
    began = time.monotonic()
    status, _, errors = run("--json", "--for", "200ms")
    equal(status, 0, "status")
    check(time.monotonic() - began >= 0.2, "it watches for as long as was asked")
    check(SUMMARY.search(errors), f"a summary: {errors}")
    check(re.search(r"^moonwatch: sources .+; priority .+$", errors, re.M), errors)
    check(max(map(len, errors.splitlines())) <= 80, errors)
    status, _, errors = run("-q", "--json", "--for", "0.1s")
    equal((status, errors), (0, ""), "status and errors with -q")


@test("status 1: the output cannot be written, and a sentence says so")
def output_lost():
    with open("/dev/full", "wb") as full, Spawning():
        with Watch("--json", stdout=full, ready=False) as w:
            equal(w.ended(), 1, "status")
            check("moonwatch: cannot write the output: No space left on device" in w.stderr(), w.stderr())


@test("a worker that is killed is followed by another, which misses nothing")
def worker_followed():
    with Watch("--json") as w:
        first = w.worker()
        os.kill(first, signal.SIGKILL)
        w.wait_error("a script worker was killed by Killed, in no script's call")
        w.marker()
        check(w.worker() != first, "the same worker")
        numbers = [e["event"]["sequence"] for e in w.events]
        # in the middle of a write nobody knows what arrived: then that batch comes again
        again = next((n for n in range(1, len(numbers)) if numbers[n] <= numbers[n - 1]), len(numbers))
        whole = numbers[:again] + [n for n in numbers[again:] if n > numbers[again - 1]]
        equal(whole, list(range(whole[0], whole[0] + len(whole))), "numbers of events")
        equal(w.stop(), 0, "status")
        check(" missed" not in w.stderr(), w.stderr())


@test("status 1: workers die again and again, and a sentence says so")
def workers_killed():
    with Watch("--json") as w:
        for n in range(4):
            os.kill(w.worker(), signal.SIGKILL)
            w.wait(lambda n=n: w.stderr().count("in no script's call") > n, "the sentence")
            if n < 3:
                w.marker()
        equal(w.ended(), 1, "status")
        check("moonwatch: the script worker was killed by Killed, again and again\n" in w.stderr(), w.stderr())


WRONG = [
    (["--nonsense"], "nonsense"), (["--for"], "for"), (["--for", "soon"], "'soon'"), (["--for", "-1s"], "'-1s'"),
    (["--for", "0"], "'0'"), (["--buffer", "much"], "'much'"), (["--buffer", "0"], "'0'"),
    (["--ring", "3x"], "'3x'"), (["--table", ""], "''"), (["--json", "--text"], "exclude"),
    (["no-command"], "'no-command'"), (["run"], "no script"), (["--json", "extra"], "'extra'"),
    (["ps", "1"], "'1'"), (["tree", "abc"], "'abc'"), (["tree", "1", "2"], "'2'"), (["ps", "--nonsense"], "nonsense"),
    (["fields", "x"], "'x'"), (["fields", "--nonsense"], "nonsense"), (["doctor", "x"], "'x'"),
    (["run", "--budget", "0"], "'0'"), (["run", "--limit", "x"], "'x'"), (["run", "--memory", "1k"], "'1k'"),
    (["run", "--errors", "-1"], "'-1'"), (["run", "--trusted"], "trusted"),
    (["plan"], "no script"), (["plan", "--nonsense"], "nonsense"),
]


@test("status 2: a wrong command line is told in one line that names what is wrong")
def wrong_line():
    for words, named in WRONG:
        status, out, errors = run(*words)
        equal((status, out), (2, ""), f"status and output of {words}")
        check(named in errors and errors.count("\n") <= 2, f"the message for {words}: {errors!r}")


@test("status 3: a script that cannot be read or loaded, with file and line")
def wrong_script():
    empty = os.path.join(scratch(), "empty")
    os.makedirs(empty, exist_ok=True)
    broken = scratch_file("broken.lua", "local mw = require 'moonwatch'\nlocal x = = 1\n")
    raises = scratch_file("raises.lua", "local function f()\n  error('on purpose')\nend\nf()\n")
    event = scratch_file("event.lua", script("", on="execute = function() end"))
    for words, wanted in [
        (["run", "/no/such/script.lua"], "/no/such/script.lua: No such file or directory"),
        (["run", empty], f"no script in {empty}"),
        (["run", broken], f"{broken}:2: "),
        (["run", raises], f"{raises}:2: on purpose"),
        (["run", event], "on.execute: no event is named so"),
        (["run", helper("act")], "act"),
        (["-e", "exec: comm =="], "-e: the condition is not Lua"),
        (["-e", "exec: true => print("], "-e: the action is not Lua"),
        (["-e", "execute: true"], "'execute' is no event"),
    ]:
        status, out, errors = run(*words)
        equal((status, out), (3, ""), f"status and output of {words}")
        check(wanted in errors, f"the message for {words}: {errors!r}")
        check(not SUMMARY.search(errors), "nothing was watched")


@test("status 3: --set names a script or an option that there is not; a later version without it only warns")
def wrong_setting():
    path = scratch_file("set.lua", """local mw = require "moonwatch"
mw.at_exit(function() end)
print("most", mw.option("most", 5), mw.option("least", 1))
mw.script { name = "set", on = { exec = function() end } }
""")
    for words, wanted in ((["--set", "other.most=3"], "--set other.most: no script is named other.lua"),
                          (["--set", "set.mots=3"], "--set set.mots: the script has no such option; it has least, most")):
        for command in (["run", "-q", "--for", "5s"], ["run", "-q", "--single", "--for", "5s"], ["plan"]):
            code, out, errors = run(*command, *words, path)
            equal((code, errors), (3, f"moonwatch: {wanted}\n"), [*command, *words])
    with Watch("-q", "--set", "set.most=3", scripts=[path]) as w:
        w.wait_line(lambda l: l == b"most\t3\t1\n", "what was set")
        os.rename(scratch_file("set.next", """print("next")
require("moonwatch").script { name = "set", on = { exec = function() end } }
"""), path)
        w.wait_line(lambda l: l == b"next\n", "the next version")
        w.stop()
        check("--set set.most: the script has no such option; it has none" in "".join(map(str, w.errors)), w.errors)


@test("status 4: where the connector cannot be had, a sentence names the reason")
def refused():
    def without_network():
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
            os._exit(99)
    status, out, errors = run("--for", "5s", preexec_fn=without_network)
    equal((status, out), (4, ""), "status and output")
    check("network namespace" in errors and errors.count("\n") == 1, errors)


@test("Ctrl-C (SIGINT to the whole process group), SIGTERM and SIGHUP end it within 2 s, status 0, with the summary")
def signals():
    for how, group in ((signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)):
        with Watch("--json", process_group=0) as w:
            begin = time.monotonic()
            (os.killpg if group else os.kill)(w.pid, how)
            equal(w.ended(), 0, f"status after {how.name}")
            check(time.monotonic() - begin < 2, f"{how.name}: {time.monotonic() - begin:.1f} s")
            check(SUMMARY.search(w.stderr()), f"a summary after {how.name}: {w.stderr()}")
            check(not os.path.exists(f"/proc/{w.pid}"), "it is gone")


@test("what the kernel told before the end is written before the end")
def nothing_cut():
    with Watch("--json") as w:
        with w.stopped():
            p = subprocess.Popen([helper("storm"), "200", helper("act"), "last", "exit:0"])
            p.wait()
            w.process.send_signal(signal.SIGTERM)
        equal(w.ended(), 0, "status")
        told = [kind(e) for e in w.events if at(e, "process.parent.pid") == p.pid]
        equal(collections.Counter(told), {"fork": 200, "exec": 200, "exit": 200}, "events")


@test("`moonwatch | head -1` ends by itself, status 0, without a complaint")
def head():
    with Spawning():
        watch = subprocess.Popen([MOONWATCH, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        cut = subprocess.run(["head", "-1"], stdin=watch.stdout, stdout=subprocess.PIPE, check=True)
        watch.stdout.close()
        try:
            equal(watch.wait(DEADLINE), 0, "status")
        finally:
            watch.kill()
            errors = watch.stderr.read().decode()
            watch.stderr.close()
        json.loads(cut.stdout)
        check("roken pipe" not in errors, errors)


@test("status 0: mw.stop() ends the watch, with at_exit and the summary")
def mw_stop():
    body = 'mw.at_exit(function() mw.emit { at_exit = 1 } end)\nmw.after(0.05, mw.stop)'
    path = scratch_file("stop.lua", script(body))
    status, out, errors = run("run", "--json", path)
    equal((status, out), (0, '{"at_exit":1}\n'), "status and output")
    check(SUMMARY.search(errors), errors)


# --- when things are written -------------------------------------------------------------------


@test("the first event is on screen within 0.3 s of the start (best of 5)")
def first_event():
    best = 99.0
    with Spawning():
        for _ in range(5):
            began = time.monotonic()
            with Watch("--json", ready=False) as w:
                w.wait(lambda: w.lines, "a line")
                best = min(best, time.monotonic() - began)
    note(f"{best * 1000:.0f} ms")
    check(best < 0.3, f"the first event took {best:.2f} s")


@test("a line is in the pipe while its process still waits, and before any other follows")
def flushed():
    best = 99.0
    with Watch("--json", lines=['exec: args and args[1] == "flushed"']) as w:
        for _ in range(5):
            after = len(w.events)
            began = time.monotonic()
            with Act("wait exit:0", "flushed") as act:
                w.wait_event(of(act.pid, "exec"), "the exec", after=after)
                best = min(best, time.monotonic() - began)
                check(act.process.poll() is None, "the process still waits")
    note(f"{best * 1000:.0f} ms from the start of the process to its line")


# --- one-liners --------------------------------------------------------------------------------


@test("-e selects: only the events and the processes that the line names are written")
def oneliner_selects():
    with Watch("--json", lines=['exec,exit: comm == "act" and args[1] == "chosen"']) as w:
        begin = len(w.events)
        for name in ("chosen", "other", "chosen"):
            subprocess.run([name, "exit:3"], executable=helper("act"))
        w.wait(lambda: sum(kind(e) == "exit" for e in w.events) >= 2, "two exits")
        w.marker()
        told = [e for e in w.events[begin:] if args_of(e)[1] != MARKER.encode()]
        equal([kind(e) for e in told], ["exec", "exit", "exec", "exit"], "events")
        equal({args_of(e)[0] for e in told}, {b"chosen"}, "processes")


@test("-e with an action, several -e, and print: each does its own")
def oneliner_acts():
    with Watch("--json", lines=['exec: args[1] == "mine" => print("one", pid, uid, parent.pid)',
                                'exit: args[1] == "mine" => mw.emit { code = code, id = id }',
                                'exec: comm.at.all']) as w:
        p = subprocess.Popen(["mine", "exit:9"], executable=helper("act"))
        p.wait()
        line = w.wait_line(lambda l: l.startswith(b"one"), "the printed line")
        equal(line.decode(), f"one\t{p.pid}\t0\t{os.getpid()}\n", "the printed line")
        event = w.wait_event(lambda e: "code" in e, "the emitted table")
        equal(event["code"], 9, "code")
        check(f"-{p.pid}-" in event["id"], event["id"])
        equal(w.stop(), 0, "status")
        scripts = re.findall(r"^moonwatch: (-e.*?): [\d,]+ events, 0 alerts, ([\d,]+) errors", w.stderr(), re.M)
        equal([name for name, _ in scripts], ["-e", "-e #2", "-e #3", "-e #4"], "scripts in the summary")
        equal([int(errors) > 0 for _, errors in scripts], [False, False, False, True], "who has errors")


# --- scripts -----------------------------------------------------------------------------------


@test("run DIR takes each *.lua in the order of the names, after the -e lines")
def directory():
    for name in ("20-b.lua", "10-a.lua", "9-c.lua", "notes.txt", ".hidden.lua"):
        scratch_file("ordered/" + name, script(f'print("loaded {name}")', name=name))
    path = os.path.join(scratch(), "ordered")
    status, out, _ = run("run", "-q", "--for", "0.05s", path)
    equal((status, out), (0, "loaded 10-a.lua\nloaded 20-b.lua\nloaded 9-c.lua\n"), "status and output")


@test("an error in a script is shown once, with a traceback, and counted; the other script goes on")
def script_error():
    bad = script('local function deep(ev)\n  error("on purpose: " .. ev.comm)\nend', name="bad",
                 on='exec = mw.where { cmdline = mw.prefix "faulty " } (function(ev) deep(ev) end)')
    good = script("", name="good", on='exec = mw.where { cmdline = mw.prefix "faulty " } (mw.emit)')
    with Watch("--json", scripts=[bad, good]) as w:
        for _ in range(3):
            subprocess.run(["faulty", "exit:0"], executable=helper("act"))
        w.wait(lambda: sum(args_of(e)[0] == b"faulty" for e in w.events) == 3, "what the good script tells")
        w.stop()
        errors = w.stderr()
        equal(errors.count("on purpose: act"), 1, "messages")
        check(re.search(r"^moonwatch: bad: \S+\.lua:3: on purpose: act\n"
                        r"\t3 \|   error\(\"on purpose: \" \.\. ev\.comm\)\nstack traceback:\n(\t.*\n)+", errors, re.M),
              errors)
        check("moonwatch: bad: 3 events, 0 alerts, 3 errors\n" in errors, errors)
        check("moonwatch: good: 3 events, 0 alerts, 0 errors\n" in errors, errors)


@test("mw.every repeats, mw.after comes once, mw.cancel ends a timer")
def timers():
    body = """
local count, later, cancelled = 0, 0, 0
mw.after(0.01, function() later = later + 1 end)
local dead = mw.every(0.001, function() cancelled = cancelled + 1 end)
mw.cancel(dead)
local timer
timer = mw.every(0.01, function()
  count = count + 1
  if count == 5 then
    mw.cancel(timer)
    mw.after(0.05, function()
      mw.emit { count = count, later = later, cancelled = cancelled }
      mw.stop()
    end)
  end
end)"""
    status, out, _ = run("run", "-q", "--json", scratch_file("timers.lua", script(body)))
    equal((status, json.loads(out)), (0, {"count": 5, "later": 1, "cancelled": 0}), "status and counts")


@test("mw.alert is a JSON alert with ECS names, and carries the event")
def alert():
    on = """exec = mw.where { cmdline = mw.prefix "alarming " } (function(ev)
      mw.alert { severity = "high", text = "look \\27[31m", event = ev, tags = { "attack.t1059", "b" }, key = "k\\255" }
    end)"""
    with Watch("--json", scripts=[script("", name="rule-1", on=on)]) as w:
        with Act("wait", "alarming") as act:
            event = w.wait_event(lambda e: at(e, "event.kind") == "alert", "the alert")
            equal(pid_of(event), act.pid, "pid")
            equal(args_of(event), [b"alarming", b"wait"], "arguments")
            equal(at(event, "event.severity"), 73, "severity")
            equal(at(event, "moonwatch.alert.severity"), "high", "severity")
            equal(event["rule"], {"name": "rule-1", "tags": ["attack.t1059", "b"]}, "rule")
            equal(event["message"], "look \x1b[31m", "message")
            equal(at(event, "event.action"), "exec", "action")
            equal(event["ecs"], {"version": "8.11.0"}, "version of ECS")
            equal(at(event, "moonwatch.raw"), {"alert.key": "a/8="}, "the key's bytes")
        w.stop()
        check("moonwatch: rule-1: 1 events, 1 alerts, 0 errors\n" in w.stderr(), w.stderr())


@test("with key and dedup equal alerts are held back, and the next one tells how many were")
def dedup():
    on = """exec = mw.where { cmdline = mw.prefix "again " } (function(ev)
      local told = mw.alert { event = ev, key = ev.args[2], dedup = "300ms", text = "x" }
      mw.emit { told = told, key = ev.args[2], time = ev.time }
    end)"""
    with Watch("--json", scripts=[script("", on=on)]) as w:
        def alarm(key):
            begin = len(w.events)
            subprocess.run(["again", key, "exit:0"], executable=helper("act"))
            return w.wait_event(lambda e: e.get("key") == key, "the answer", after=begin)
        first = alarm("a")
        equal(first["told"], True, "the first one is told")
        equal(alarm("b")["told"], True, "another key is told")
        held = 0
        while not (answer := alarm("a"))["told"]:
            check(answer["time"] - first["time"] < 0.3, "held back only within the span")
            held += 1
        check(held > 0, "at least one was held back")
        alerts = [e for e in w.events if at(e, "event.kind") == "alert"]
        equal([at(e, "moonwatch.alert.held") for e in alerts], [None, None, held], "held")


@test("mw.where: values, lists, numbers, prefix, suffix, contains and none choose in C as documented")
def where():
    cases = {
        "value": '{ comm = "act" }', "wrong": '{ comm = "ac" }', "list": '{ comm = { "x", "act" } }',
        "number": "{ uid = 0 }", "numbers": "{ uid = { 5, 7 } }", "prefix": '{ exe = mw.prefix "/no", cmdline = mw.prefix "whe" }',
        "prefix2": '{ cmdline = mw.prefix { "x", "where " } }', "suffix": '{ exe = mw.suffix "/act" }',
        "contains": '{ cmdline = mw.contains "re mid" }', "none": '{ comm = mw.none "sh" }',
        "none2": '{ comm = mw.none { "sh", "act" } }', "none3": '{ exe = mw.none(mw.suffix "/act") }',
        "two": '{ comm = "act", uid = 0 }', "absent": '{ loginuid = mw.none(12345) }', "bool": "{ deleted = true }",
        "all": "{}",
    }
    right = {"value", "list", "number", "prefix2", "suffix", "contains", "none", "two", "absent", "all"}
    body = "local list = {}\n" + "\n".join(
        f'list[#list + 1] = mw.where {test_} (function(ev) if ev.args and ev.args[1] == "where" then mw.emit {{ case = "{name}" }} end end)'
        for name, test_ in cases.items())
    with Watch("--json", scripts=[script(body, on="exec = list")]) as w:
        subprocess.run(["where", "middle", "exit:0"], executable=helper("act"))
        w.marker()
        equal(sorted(e["case"] for e in w.events if "case" in e), sorted(right), "cases that fit")


@test("ev:why, ev:get under ECS, Sigma, OCSF and Falco names, ev.parent, ev:ancestor and mw.proc agree with /proc")
def answers():
    on = """exec = mw.where { cmdline = mw.prefix "asked " } (function(ev)
      local above = ev:ancestor { pid = %d }
      local by = ev:ancestor(function(p) return p.pid == %d end)
      local ok, message = pcall(ev.get, ev, "no.such.name")
      mw.emit {
        why = { exe = ev:why "exe", pid = ev:why "pid", loginuid = ev:why "loginuid", cmdline = ev:why "cmdline",
                starttime = ev:why "starttime" },
        get = { ev:get "process.executable", ev:get "Image", ev:get "process.file.path", ev:get "proc.exepath", ev:get "exe" },
        cmdline = { ev:get "process.command_line", ev:get "CommandLine", ev:get "proc.cmdline", ev.cmdline },
        parent = { ev:get "ParentImage", ev:get "proc.pname", ev:get "process.parent.pid", ev:get "ParentProcessId",
                   ev.parent.pid, ev.parent.comm },
        user = { ev:get "process.user.id", ev:get "user.uid" },
        was = ev:get "moonwatch.was.comm",
        id = { ev.id, ev:get "process.entity_id", ev:get "ProcessGuid" },
        above = above and above.pid, by = by and by.id, grand = ev.parent.parent.pid,
        proc = mw.proc(ev.pid).comm, nobody = mw.proc(0) == nil, ok = ok, message = message,
        all = (function() local n = 0 for p in mw.processes() do n = n + 1 end return n end)(),
      }
    end)""" % (os.getppid(), os.getppid())
    with Watch("--json", scripts=[script("", on=on)]) as w, Act("wait", "asked") as act:
        e = w.wait_event(lambda e: "why" in e, "the answers")
        source = e["why"]["exe"]  # proc, or the tap where there is one
        check(source in ("tap", "proc"), e["why"])
        equal(e["why"], {"exe": source, "pid": "connector", "loginuid": e["why"]["loginuid"], "cmdline": source,
                         "starttime": e["why"]["starttime"]}, "why")
        check(e["why"]["loginuid"] in ("absent", source), e["why"])
        equal(e["get"], [helper("act")] * 5, "exe")
        equal(e["cmdline"], ["asked wait"] * 4, "cmdline")
        exe, name = os.readlink("/proc/self/exe"), proc_read(os.getpid(), "comm").decode().strip()
        equal(e["parent"], [exe, name, os.getpid(), os.getpid(), os.getpid(), name], "parent")
        equal(e["user"], [0, 0], "user")
        equal(e["was"], name, "was.comm")
        check(len(set(e["id"])) == 1 and f"-{act.pid}-" in e["id"][0], e["id"])
        equal((e["above"], e["grand"]), (os.getppid(), os.getppid()), "grandparent")
        check(f"-{os.getppid()}-" in e["by"], e["by"])
        equal((e["proc"], e["nobody"], e["ok"]), ("act", True, False), "mw.proc and a wrong name")
        check("no.such.name" in e["message"], e["message"])
        check(e["all"] > 3, "mw.processes")


SERVER = r"""
import os, socket, sys
listening = socket.socket(); listening.bind(("127.0.0.1", 0)); listening.listen()
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
try: six.bind(("::1", 0))
except OSError: pass
unix = socket.socket(socket.AF_UNIX); unix.bind(sys.argv[1]); unix.listen()
client = socket.create_connection(listening.getsockname()); peer = listening.accept()[0]
file = open(sys.argv[0]); file.seek(7)
print(listening.getsockname()[1], client.getsockname()[1], listening.fileno(), unix.fileno(), client.fileno(), file.fileno(), flush=True)
sys.stdin.readline()
"""

TOPICS = ("stat status memory io fds sockets threads ns maps libraries environ mounts limits cgroups hash").split()


@test("each question to a living process is answered as /proc answers it; of one that is gone: nil, 'gone'")
def topics():
    status, out, _ = run("fields")
    equal(sorted(re.findall(r"^ev:(\w+)\(\)", out, re.M)), sorted(TOPICS), "the topics that there are")
    path = scratch_file(unique("server") + ".py", SERVER)
    name = os.path.join(scratch(), unique("unix"))
    body = "local server\nlocal topics = { %s }" % ", ".join(f'"{t}"' for t in TOPICS)
    on = """exec = { mw.where { cmdline = mw.contains "%s" } (function(ev) server = ev end),
      mw.where { cmdline = mw.prefix "ask-now " } (function(ev)
        local answer, reasons = {}, {}
        for _, topic in ipairs(topics) do
          local value, reason = server[topic](server)
          answer[topic], reasons[topic] = value, reason
        end
        mw.emit { answer = answer, reasons = reasons, number = ev.args[2] }
      end) }""" % path
    with Watch("--json", scripts=[script(body, on=on)]) as w:
        env = environment({"MW_TEST": "a value = with\nmore", "EMPTY": ""})
        server = subprocess.Popen([sys.executable, path, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        port, client_port, tcp_fd, unix_fd, client_fd, file_fd = map(int, server.stdout.readline().split())

        def ask(number):
            while proc_stat(server.pid) and proc_stat(server.pid)[1][0] == b"R":
                time.sleep(0.001)  # until it waits: then its figures stand still
            subprocess.run(["ask-now", number, "exit:0"], executable=helper("act"))
            return w.wait_event(lambda e: e.get("number") == number, "the answer")
        event = ask("1")
        equal(event["reasons"], {}, "questions without an answer")
        judge_answers(event["answer"], server.pid, path, name, port, client_port, tcp_fd, unix_fd, client_fd, file_fd)
        server.communicate(b"\n")
        event = ask("2")
        equal(event["answer"], {}, "answers about a process that is gone")
        equal(event["reasons"], {t: "gone" for t in TOPICS}, "reasons")


def by(rows, key, value):
    found = [r for r in rows if r.get(key) == value]
    equal(len(found), 1, f"rows with {key} = {value}")
    return found[0]


def judge_answers(a, pid, path, name, port, client_port, tcp_fd, unix_fd, client_fd, file_fd):
    comm, fields = proc_stat(pid)
    status = proc_status(pid)
    equal((a["stat"]["state"], a["stat"]["ppid"], a["stat"]["pgrp"], a["stat"]["threads"]),
          (fields[0].decode(), os.getpid(), os.getpgid(pid), 1), "stat")
    equal(a["stat"]["vsize"], int(fields[20]), "stat.vsize")
    equal(a["stat"]["rss"], int(fields[21]) * os.sysconf("SC_PAGE_SIZE"), "stat.rss")
    equal(round(a["stat"]["utime"] * 100), int(fields[11]), "stat.utime")
    equal([a["status"][k] for k in ("uid", "euid", "suid", "fsuid")], [int(n) for n in status["Uid"].split()],
          "status.uid")
    equal(a["status"]["cap_eff"], status["CapEff"], "status.cap_eff")
    equal((a["status"]["no_new_privs"], a["status"]["seccomp"], a["status"]["tracer"]),
          (int(status["NoNewPrivs"]), int(status["Seccomp"]), 0), "status")
    equal(a["status"]["umask"], int(status["Umask"], 8), "status.umask")
    equal(a["memory"]["vm_rss"], int(status["VmRSS"].split()[0]) * 1024, "memory.vm_rss")
    equal(a["memory"]["vm_exe"], int(status["VmExe"].split()[0]) * 1024, "memory.vm_exe")
    io = dict(line.split(": ") for line in proc_read(pid, "io").decode().splitlines())
    equal(a["io"], {k: int(v) for k, v in io.items()}, "io")

    fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    equal({r["fd"]: r["path"] for r in a["fds"]}, fds, "fds")
    equal(by(a["fds"], "fd", file_fd)["pos"],
          int(re.search(rb"pos:\s*(\d+)", proc_read(pid, f"fdinfo/{file_fd}"))[1]), "pos")
    info = dict(l.split(":\t") for l in proc_read(pid, f"fdinfo/{file_fd}").decode().splitlines() if ":\t" in l)
    equal(by(a["fds"], "fd", file_fd)["flags"], int(info["flags"], 8), "flags")

    tcp = by(a["sockets"], "fd", tcp_fd)
    equal({k: tcp.get(k) for k in ("family", "type", "state", "local_ip", "local_port", "remote_ip", "remote_port")},
          {"family": "inet", "type": "tcp", "state": "listen", "local_ip": "127.0.0.1", "local_port": port,
           "remote_ip": None, "remote_port": None}, "the listening socket")
    client = by(a["sockets"], "fd", client_fd)
    equal({k: client.get(k) for k in ("state", "local_ip", "local_port", "remote_ip", "remote_port")},
          {"state": "established", "local_ip": "127.0.0.1", "local_port": client_port, "remote_ip": "127.0.0.1",
           "remote_port": port}, "the connected socket")
    unix = by(a["sockets"], "fd", unix_fd)
    equal({k: unix.get(k) for k in ("family", "type", "state", "path")},
          {"family": "unix", "type": "stream", "state": "listen", "path": name}, "the unix socket")
    equal({r["fd"] for r in a["sockets"]}, {fd for fd, to in fds.items() if to.startswith("socket:")}, "sockets")

    equal([(t["tid"], t["comm"]) for t in a["threads"]], [(pid, comm.decode())], "threads")
    equal({r["name"]: r["inode"] for r in a["ns"]},
          {n: int(re.search(r"\d+", os.readlink(f"/proc/{pid}/ns/{n}"))[0]) for n in os.listdir(f"/proc/{pid}/ns")}, "ns")
    maps = [line.split(None, 5) for line in proc_read(pid, "maps").decode().splitlines()]
    equal([(m["from"] + "-" + m["to"], m["perms"], m.get("path")) for m in a["maps"]],
          [(m[0], m[1], m[5] if len(m) > 5 else None) for m in maps], "maps")
    wanted = {m[5] for m in maps if "x" in m[1] and len(m) > 5 and m[5].startswith("/")}
    equal({l["path"] for l in a["libraries"]}, wanted, "libraries")
    environ = [e.split("=", 1) for e in proc_read(pid, "environ").decode().rstrip("\0").split("\0")]
    equal([[e["name"], e["value"]] for e in a["environ"]], environ, "environ")
    equal(by(a["environ"], "name", "MW_TEST")["value"], "a value = with\nmore", "an environment variable")
    mounts = [line.split() for line in proc_read(pid, "mountinfo").decode().splitlines()]
    equal([(m["id"], m["parent"], m["path"]) for m in a["mounts"]], [(int(m[0]), int(m[1]), m[4]) for m in mounts],
          "mounts")
    files = by(a["limits"], "name", "Max open files")
    found = re.search(rb"Max open files\s+(\d+)\s+(\d+)\s+files", proc_read(pid, "limits"))
    equal((files["soft"], files["hard"], files["unit"]), (int(found[1]), int(found[2]), "files"), "limits")
    cgroups = [line.split(":", 2) for line in proc_read(pid, "cgroup").decode().splitlines()]
    equal([(c["id"], c.get("controllers", ""), c["path"]) for c in a["cgroups"]],
          [(int(c[0]), c[1], c[2]) for c in cgroups], "cgroups")
    with open(f"/proc/{pid}/exe", "rb") as exe:
        image = exe.read()
    equal(a["hash"], {"sha256": hashlib.sha256(image).hexdigest(), "size": len(image)}, "hash")


# --- the worker --------------------------------------------------------------------------------


@test("the worker runs as nobody, without capabilities, groups, foreign descriptors or a way back")
def worker_powerless():
    body = """
local file, message
if io and io.open then file, message = io.open("/etc/shadow") end
mw.emit { opened = file ~= nil, message = message }"""
    with Watch("--json", scripts=[script(body)]) as w:
        status = proc_status(w.worker())
        nobody = pwd.getpwnam("nobody")
        equal(status["Uid"].split(), [str(nobody.pw_uid)] * 4, "uid")
        equal(status["Gid"].split(), [str(nobody.pw_gid)] * 4, "gid")
        equal(status["Groups"].split(), [], "groups")
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            equal(int(status[name], 16), 0, name)
        equal(status["NoNewPrivs"], "1", "no_new_privs")
        equal(status["Name"], "moonwatch-lua", "name")
        links = [os.readlink(f"/proc/{w.worker()}/fd/{fd}") for fd in os.listdir(f"/proc/{w.worker()}/fd")]
        for line in open("/proc/net/netlink"):
            check(f"socket:[{line.split()[-1]}]" not in links, "the worker holds no netlink socket")
        check(all(not link.startswith("/proc") for link in links), f"the worker holds /proc: {links}")
        event = w.wait_event(lambda e: "opened" in e, "what the script says")
        equal(event["opened"], False, "/etc/shadow is open")
        equal((proc_stat(w.worker())[1][38]), b"0", "scheduling policy of the worker")


@test("--user names the worker's user; one that is not there is an error")
def other_user():
    user = next((p for p in pwd.getpwall() if p.pw_uid not in (0, pwd.getpwnam("nobody").pw_uid)), None)
    with Watch("--json", "--user", user.pw_name) as w:
        equal(proc_status(w.worker())["Uid"].split(), [str(user.pw_uid)] * 4, "uid")
    status, out, errors = run("--user", "no-such-user", "--for", "5s")
    check(status != 0 and "there is no user 'no-such-user'" in errors, (status, errors))


@test("--single gives the same events as the worker")
def single():
    with Watch("--json") as two, Watch("--json", "--single") as one:
        equal(proc_read(one.pid, f"task/{one.pid}/children"), b"", "children of --single")
        with Act("say:parent wait name:renamed setsid setresgid:3,3,3 setresuid:5,5,5 "
                 "child say:child wait exec:other wait exit:7 | kill:9") as act:
            parent = int(act.said()[1])
            act.go()
            child = int(act.said()[1])

            def both(pid, what):
                for w in (one, two):
                    w.wait_event(of(pid, what), f"{what} of {pid}")
            both(child, "fork")
            both(parent, "exit")
            act.go()
            both(child, "exec")  # it waits: at its usual priority --single needs time to look at it
            act.go()
            both(child, "exit")

        def normal(w):
            events = []
            for e in w.events:
                if pid_of(e) in (parent, child):
                    e = json.loads(json.dumps(e))
                    del e["event"]["sequence"], e["@timestamp"], e["process"]["start"]
                    e["process"].get("parent", {}).pop("start", None)
                    events.append(e)
            return events
        found, wanted = normal(one), normal(two)
        equal([(kind(e), pid_of(e)) for e in found], [(kind(e), pid_of(e)) for e in wanted], "events")
        for a, b in zip(found, wanted):
            equal(a, b, f"the {kind(a)} of {pid_of(a)}")
        check(len(found) >= 9, f"{len(found)} events")


BEGINNINGS = 30


def begin_often(options, how):
    """Many watches, each stopped as soon as its first line is there: how many had which exit status."""
    ends = []
    for _ in range(BEGINNINGS):
        with Watch("--json", *options, ready=False) as w:
            try:
                w.wait(lambda: w.lines, "a line")
                ends.append(w.stop(how))
            except Failed:
                ends.append(w.process.poll())
    return collections.Counter(ends)


@test("the watch begins well while processes come and go, with a worker and with --single")
def begins_in_a_storm():
    with Spawning(), Spawning(), Spawning():
        for options in ([], ["--single"]):
            ends = begin_often(options, signal.SIGKILL)  # how a watch begins, not how it ends
            equal(ends, {-signal.SIGKILL: BEGINNINGS}, f"statuses with {options}")


@test("Ctrl-C as soon as the first line is there ends the watch with status 0 already")
def early_signal():
    with Spawning(), Spawning(), Spawning():
        for options in ([], ["--single"]):
            equal(begin_often(options, signal.SIGINT), {0: BEGINNINGS}, f"statuses with {options}")


# --- names that want to do harm ----------------------------------------------------------------

HOSTILE_ARGS = [b"\x1b[31;1mred", b"\x1b]0;title\x07", b"\r\nmoonwatch: forged line", b"\x9b31m", b"\xc2\x9b31m\xc2\x85",
                "\u202egnp.exe \u2066x\u2069 \ufeff".encode(), b"\xff\xfe\x80\xc3(", "漢字漢字漢字 e\u0301 😀".encode(), b"\t\x7f\b",
                b"L" * 300]


def hostile_process():
    """A process of which name, arguments and working directory attack the terminal."""
    os.makedirs(os.path.join(os.fsencode(scratch()), b"dir\x1b[5m\n"), exist_ok=True)
    steps = "name:%1b[7mX%0a%9b%07 child wait exec:%1b exit:0 | name:%e6%bc%a2%e5%ad%97%e6%bc%a2%e5%ad%97%e6%bc wait kill:11"
    return subprocess.Popen([b"\x1b[2Jact\x07", *HOSTILE_ARGS, steps.encode()], executable=helper("act"),
                            cwd=os.path.join(os.fsencode(scratch()), b"dir\x1b[5m\n"), stdin=subprocess.DEVNULL)


class Terminal:
    """The binary on a pseudo terminal of this width."""

    def __init__(self, columns, *words, env=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.process = subprocess.Popen([MOONWATCH, *words], stdin=slave, stdout=slave, stderr=slave, env=environment(env))
        os.close(slave)
        self.bytes = b""

    def read(self, wanted, seconds=DEADLINE):
        """Until wanted(bytes so far); None: until the end."""
        until = time.monotonic() + seconds
        while not (wanted and wanted(self.bytes)):
            left = until - time.monotonic()
            if left <= 0:
                if wanted:
                    return False
                raise Failed(f"the terminal shows {short(self.bytes[-300:])}")
            if not select.select([self.master], [], [], left)[0]:
                continue
            try:
                data = os.read(self.master, 65536)
            except OSError:  # how Linux says that nobody holds the other side
                data = b""
            if not data:
                return False
            self.bytes += data
        return True

    def marker(self):
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            p = subprocess.Popen(["m", MARKER, "exit:0"], executable=helper("act"))
            p.wait()
            row = re.compile(rb" %d\b[^\n]*exec[^\n]*\n" % p.pid)
            if self.read(row.search, 0.3):
                return
        raise Failed("the marker is not on the screen")

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.read(None)
        status = self.process.wait(DEADLINE)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


SGR = re.compile(rb"\x1b\[[0-9;]*m")
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def width(text):
    cells = 0
    for c in text:
        if unicodedata.combining(c) or unicodedata.category(c) in ("Mn", "Me", "Cf"):
            continue
        cells += 2 if unicodedata.east_asian_width(c) in "WF" else 1
    return cells


def judge_screen(raw, columns, but=lambda line: False):
    plain = SGR.sub(b"", raw).decode()  # what is left must be UTF-8
    for line in plain.replace("\r\n", "\n").split("\n"):
        bad = FORBIDDEN.search(line)
        check(not bad, f"control character {bad and bad[0]!r} in {line!r}")
        if not but(line):
            check(width(line) <= columns, f"{width(line)} of {columns} columns: {line!r}")
    return plain


def is_summary(line):
    return line.startswith("moonwatch: ")


@test("on a terminal of 80 and of 200 columns a hostile name, argument or directory is shown harmless, and no line is too long")
def hostile():
    for columns in (80, 200):
        with Terminal(columns) as t:
            t.marker()
            p = hostile_process()
            equal(p.wait(), -signal.SIGSEGV, "status of the helper itself")
            t.marker()
            equal(t.end(), 0, "status")
            plain = judge_screen(t.bytes, columns, is_summary)
            rows = [line for line in plain.split("\n") if re.search(rf" {p.pid}\b", line)]
            for what in ("fork", "exec", "comm", "exit"):
                check(any(f" {what} " in row for row in rows), f"{what} on the screen: {rows}")
            check(any("\\x1b" in row for row in rows), f"escapes are shown as text: {rows}")
            check(b"\x1b[" in t.bytes, "there is colour")
            check(SUMMARY.search(plain.replace("\r", "")), "the summary")


@test("ps, tree and alerts show hostile names harmless too")
def hostile_lists():
    with Act("name:%1b[7mX%0a%9b%07 say:x wait exit:0", "\x1b[2Jlist", args=HOSTILE_ARGS) as act:
        act.said()
        for words in (["ps"], ["tree"], ["tree", str(act.pid)], ["ps", "--text"]):
            for columns in (80, 200):
                with Terminal(columns, *words) as t:
                    t.read(None)
                    equal(t.process.wait(), 0, f"status of {words}")
                    plain = judge_screen(t.bytes, columns)
                    check(re.search(rf"^ *{act.pid} ", plain, re.M), f"the process in {words}")


ATTACK = b"\x1b[31mX\nmoonwatch: forged\x07\xff\xc2\x9b."


@test("what a script writes of a hostile process with print, mw.emit and mw.alert is harmless on a terminal")
def hostile_output():
    line = ('exec: args[1] == "alarm" => mw.alert { text = args[2], event = ev } print(args[2]) mw.emit(args[2]) '
            'mw.emit { text = args[2] }')
    with Terminal(80, "-e", line, "-e", f'exec: args[2] == "{MARKER}"') as t:
        t.marker()
        subprocess.run([b"alarm", ATTACK, b"exit:0"], executable=helper("act"))
        t.marker()
        t.end()
        judge_screen(t.bytes, 80, lambda line: True)
        check(t.bytes.count(b"\\x1b[31mX") >= 3, short(t.bytes))


@test("what a script logs, or raises as an error, of a hostile process is harmless on stderr")
def hostile_log():
    lines = ['exec: args[1] == "alarm" => mw.log(args[2])', 'exec: args[1] == "alarm" => error(args[2], 0)']
    with Watch("--json", lines=lines) as w:
        subprocess.run([b"alarm", ATTACK, b"exit:0"], executable=helper("act"))
        w.marker()
        w.stop()
        check(w.stderr().count("\\x1b[31mX") == 2, f"escapes are shown as text: {w.stderr()!r}")
        bad = FORBIDDEN.search(w.stderr().replace("\n", "").replace("\t", ""))
        check(not bad and "\ufffd" not in w.stderr(), f"{bad and bad[0]!r} on stderr: {w.stderr()!r}")
        check("\nmoonwatch: forged" not in w.stderr(), f"a line that we did not write: {w.stderr()!r}")


@test("a script whose file name attacks the terminal is told of harmless: missing, broken, and in the summary")
def hostile_script():
    name = b"evil\x1b[31m\x07\r.lua"
    path = scratch_file(name, b"x = = 1\n")
    quiet = scratch_file(b"quiet-" + name, b"require('moonwatch').at_exit(function() end)\n")
    wrong = {}
    for words, status in (([path], 3), ([path + b".not"], 3), ([b"--for", b"0.05s", quiet], 0), ([b"--for", name], 2)):
        done = subprocess.run([MOONWATCH.encode(), b"run", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        equal(done.returncode, status, f"status of {words}")
        if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", done.stderr):
            wrong[words[-1]] = done.stderr
    equal(wrong, {}, "control characters on stderr")


@test("NO_COLOR and a pipe have no escapes at all; a terminal has our colours")
def no_color():
    for env, colours in (({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({}, True)):
        with Terminal(100, env=env) as t:
            t.marker()
            t.end()
            equal(b"\x1b" in t.bytes, colours, f"escapes with {env}")
        for words in (["ps"], ["doctor"]):
            with Terminal(100, *words, env=env) as t:
                t.read(None)
                if not colours:
                    check(b"\x1b" not in t.bytes, f"escapes in {words} with {env}")
    with Watch("--text") as w:
        w.stop()
        check(not any(b"\x1b" in line for line in w.lines), "escapes in a pipe")


@test("--text into a pipe is what the terminal shows, uncut; --json on a terminal is JSON")
def formats():
    with Watch("--text") as w:
        check(w.lines[0].startswith(b"TIME"), f"a heading: {w.lines[0]}")
        subprocess.run(["text", "x" * 300, "exit:4"], executable=helper("act"))
        w.wait_line(lambda line: b"x" * 300 in line and b" exec " in line, "the exec")
    with Spawning(), Terminal(80, "--json") as t:
        check(t.read(lambda b: b.count(b"\n") > 2), "lines")
        json.loads(t.bytes.split(b"\r\n")[0])


# --- the other commands ------------------------------------------------------------------------


@test("ps lists every living process with the facts of /proc, as text and as JSON")
def ps():
    with Act("say:x wait", "listed", args=["", "two words", "\n"]) as act:
        act.said()
        status, out, errors = run("ps")
        equal((status, errors), (0, ""), "status and errors")
        rows = {pid_of(e): e for e in map(json.loads, out.splitlines())}
        equal(sorted(rows), [pid_of(json.loads(line)) for line in out.splitlines()], "order of the pids")
        row = rows[act.pid]
        equal(args_of(row), [b"listed", b"", b"two words", b"\n", b"say:x wait"], "arguments")
        equal((at(row, "process.parent.pid"), at(row, "process.executable"), at(row, "process.name")),
              (os.getpid(), helper("act"), "act"), "facts")
        equal((at(row, "process.working_directory"), at(row, "process.user.id")), (os.getcwd(), "0"), "facts")
        check({1, os.getpid()} <= set(rows), "others too")
        status, out, _ = run("ps", "--text")
        check(re.search(rf"^ *{act.pid} +{os.getpid()} +0 .*listed '' 'two words'", out, re.M), "the text row")


@test("tree shows children below their parents; tree PID only that process and its descendants")
def tree():
    with Act("say:p child say:c wait | wait", "above", args=["x"]) as act:
        above, child = int(act.said()[1]), int(act.said()[1])
        status, out, _ = run("tree")
        equal(status, 0, "status")
        check(re.search(rf"^ *{above} .*\n *{child} +{above} .*[`|]- .*above x", out, re.M),
              "the child below its parent")
        status, out, _ = run("tree", str(above))
        equal([int(line.split()[0]) for line in out.splitlines()[1:]], [above, child], "tree of one")
        check(re.search(r" `- \S+/act: above x ", out.splitlines()[2]), out)
    status, out, errors = run("tree", str(above))
    equal((status, errors), (1, f"moonwatch: there is no process {above}\n"), "tree of nobody")


@test("fields lists every field and topic in text, in Markdown and as LuaLS definitions")
def fields():
    with open(os.path.join(os.path.dirname(__file__), "../../src/event/fields.def")) as file:
        names = re.findall(r'^F\(\w+, "([\w.]+)"', file.read(), re.M)
    check(len(names) > 30, "the list")
    for words in ([], ["--markdown"], ["--luals"]):
        status, out, errors = run("fields", *words)
        equal((status, errors), (0, ""), f"status of fields {words}")
        for name in names:
            name = name[4:] if words == ["--luals"] and name.startswith("was.") else name
            check(re.search(rf"(^|`|@field ){re.escape(name)}\b", out, re.M), f"{name} in fields {words}")
        for topic in TOPICS:
            check(re.search(rf"ev:{topic}\(\)|Process:{topic}\(\)", out), f"{topic} in fields {words}")
    check(out.startswith("---@meta\n"), "LuaLS definitions begin with ---@meta")
    if subprocess.run(["which", "luajit"], stdout=subprocess.DEVNULL).returncode == 0:
        check(subprocess.run(["luajit", "-bl", "-"], input=out.encode(), stdout=subprocess.DEVNULL).returncode == 0,
              "LuaLS definitions are Lua")


@test("doctor says what works; without rights what does not, and the mend; status 4 when the watch cannot run")
def doctor():
    status, out, errors = run("doctor")
    equal((status, errors), (0, ""), "status and errors")
    check(re.search(r"^good +process connector ", out, re.M), out)
    check(re.search(r"^(good|limited) +tap ", out, re.M) and re.search(r"^(good|limited) +taskstats ", out, re.M), out)
    check(not re.search(r"^broken", out, re.M), out)
    check(re.search(r"^good +/proc ", out, re.M) and "CAP_SYS_PTRACE" not in out, "root can read all: " + out)
    check(max(map(len, out.splitlines())) <= 80, out)

    def without_ptrace():
        ctypes.CDLL(None).prctl(24, 19, 0, 0, 0)
    status, out, _ = run("doctor", preexec_fn=without_ptrace)
    check(re.search(r"^limited +/proc +programs of other users have no path .*\n( {28}\w.*\n)* +-> give CAP_SYS_PTRACE", out, re.M), out)
    check(max(map(len, out.splitlines())) <= 80, out)

    def without_network():
        ctypes.CDLL(None).unshare(0x40000000)
    status, out, _ = run("doctor", preexec_fn=without_network)
    equal(status, 4, "status without the host's network namespace")
    check(re.search(r"^broken +process connector .*\n( {28}\w.*\n)* +-> ", out, re.M), out)


@test("help and version go to stdout with status 0, for each command")
def help_texts():
    for words in (["--help"], ["-h"], ["help"], ["run", "--help"], ["ps", "--help"], ["tree", "-h"], ["fields", "--help"],
                  ["plan", "--help"], ["doctor", "--help"], ["new", "--help"], ["test", "--help"], ["lint", "--help"],
                  ["record", "--help"], ["replay", "--help"], ["explain", "--help"], ["backtest", "--help"], ["top", "--help"], ["ctl", "--help"], ["reload", "--help"], ["repl", "--help"], ["--version"]):
        status, out, errors = run(*words)
        equal((status, errors), (0, ""), f"status and errors of {words}")
        check(("usage: moonwatch" in out or out.startswith("moonwatch ")) and not re.search(r".{81}", out),
              f"text of {words}")


@test("`help COMMAND` is the command's --help; of one that there is not it says so, with status 2")
def help_of():
    for command in ("run", "ps", "doctor", "repl"):
        equal(run("help", command), run(command, "--help"), command)
    code, _, errors = run("help", "nope")
    equal(code, 2, "status")
    check("there is no command 'nope'" in errors, errors)


@test("make install brings the documents along, make uninstall leaves nothing of it, and make help fits 80 columns")
def install():
    def make(*words):
        done = subprocess.run(["make", "-s", "-C", ROOT, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        equal(done.returncode, 0, done.stdout)
        return done.stdout
    to = os.path.join(scratch(), "installed")
    make("install", "DESTDIR=" + to, "PREFIX=/usr")
    for name in ("bin/moonwatch", "share/doc/moonwatch/README.md", "share/doc/moonwatch/scripts/README.md"):
        check(os.path.isfile(os.path.join(to, "usr", name)), name)
    make("uninstall", "DESTDIR=" + to, "PREFIX=/usr")
    equal([file for _, _, files in os.walk(to) for file in files], [], "left behind")
    check(max(map(len, make("help").splitlines())) <= 80, "make help")


@test("doctor starts short processes and says how many it could name")
def doctor_names():
    status, out, _ = run("doctor")
    equal(status, 0, "status")
    line = re.search(r"^(good|limited) +short processes +(.*(?:\n {28}\w.*)*)$", out, re.M)
    check(line, out)
    found = re.fullmatch(r"exe ([\d.]+) %, args ([\d.]+) %, comm ([\d.]+) % of 200 that ended at once", re.sub(r"\s+", " ", line[2]))
    check(found, f"not all were seen: {line[0]}")
    check(all(50 < float(percent) <= 100 for percent in found.groups()), line[0])
    equal(line[1], "good" if found.groups() == ("100",) * 3 else "limited", "verdict")


if __name__ == "__main__":
    main()
