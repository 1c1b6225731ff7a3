"""test_record.py - what a watch saw is in a file, and scripts that are told it again tell the same."""
import datetime
import json
import os
import re
import signal
import subprocess
import time

from mwcontrol import Controlled
from mwtest import (DEADLINE, MOONWATCH, ROOT, Act, Failed, Watch, args_of, at, check, environment, equal, helper, kind, main,
                    note, of, proc_stat, run, scratch, scratch_file, test, unique)

TAG = f"record-{os.getpid()}"

# Answers, timers, windows, the clock, alerts with dedup, the end: all that comes to a script.
ALL = """local mw = require "moonwatch"
local w = mw.window { span = "1s" }
mw.every(0.1, function() print("tick", mw.now(), os.time(), w:count "all", mw.stats().events) end)
mw.at_exit(function() print("end", mw.now()) end)
return mw.script { name = "all", on = {
  exec = function(ev)
    if ev.parent and ev.parent.args and ev.parent.args[2] == "TAG" or ev.args and ev.args[2] == "TAG" then
      w:add("all", ev.comm)
      local env, why = ev:environ()
      print(ev.seq, ev.cmdline, ev.parent and ev.parent.cmdline, env and #env or why, w:count "all", ev.id)
      mw.after(0.05, function()
        local stat, gone = ev:stat()
        print("after", ev.pid, stat and stat.rss or gone, mw.now())
      end)
      mw.alert { severity = "low", key = ev.comm, dedup = "300ms", text = "ran", event = ev }
    end
  end,
  exit = function(ev) print("exit", ev.pid, ev.code, ev.duration) end } }
""".replace("TAG", TAG)


def mwr():
    return os.path.join(scratch(), unique("r") + ".mwr")


class Record(Watch):
    """`moonwatch record`: its output goes to `told`."""

    def __init__(self, path, *options, scripts=()):
        self.told = path + ".told"
        super().__init__("record", "-o", path, *options, *[self._path(s) for s in scripts],
                         stdout=open(self.told, "wb"), ready=False)
        self.path = path

    def act(self, *args):
        """One of ours runs to its end."""
        subprocess.run(["act", TAG, *args, "exit:0"], executable=helper("act"), check=True)

    def wait_recording(self):
        """Until its loop runs: it answers a signal then."""
        wait_until(lambda: os.path.exists(self.path) and os.path.getsize(self.path) > 0, "the file to begin")
        self.process.send_signal(signal.SIGUSR1)
        self.wait_error(" events in ")


def wait_until(ready, what):
    until = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {DEADLINE} s")
        time.sleep(0.01)


def text(path):
    with open(path, "rb") as file:
        return file.read()


def replay(path, *more, **popen):
    done = subprocess.run([MOONWATCH, "replay", *more, path] if "--diff" not in more else [MOONWATCH, "replay", *more],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), timeout=60, **popen)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def tell_again(path, script, *options, zone="UTC", **popen):
    done = subprocess.run([MOONWATCH, "replay", "-q", *options, path, script], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment({"TZ": zone}), timeout=60, **popen)
    equal((done.returncode, done.stderr), (0, b""), "replay")
    return done.stdout


def events(path, *options):
    status, out, errors = replay(path, "-q", "--json", *options)
    equal((status, errors), (0, ""), "replay of all events")
    return [json.loads(line) for line in out.splitlines()]


def words(event):
    return [arg.decode(errors="replace") for arg in args_of(event) or ()]


def ours(found):
    return [e for e in found if kind(e) == "exec" and words(e)[1:2] == [TAG]]


def recorded(script, acts, *options):
    path = mwr()
    with Record(path, *options, scripts=[script]) as w:
        w.wait_recording()
        for args in acts:
            w.act(*args)
            time.sleep(0.06)  # so that timers fall between events
        equal(w.stop(), 0, "exit status")
    return path, text(w.told)


@test("a replay tells what was told live, byte for byte, each time, in JSON and as text")
def identical():
    script = scratch_file("all.lua", ALL)
    for option in ("--text", "--json"):
        path, live = recorded(script, [[str(i)] for i in range(8)], "--redact", "none", option)
        check(live.count(b"tick") > 3 and live.count(b"after") >= 8, f"the script told too little: {live[-500:]}")
        for zone in ("UTC", "Asia/Tokyo", "America/St_Johns"):
            told = tell_again(path, script, option, zone=zone)
            if told != live:
                a, b = live.splitlines(), told.splitlines()
                first = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
                raise Failed(f"line {first + 1} of {len(a)} and {len(b)}: live {a[first:first + 1]}, "
                             f"replayed {b[first:first + 1]}")


@test("it needs no privilege and no network")
def unprivileged():
    script = scratch_file("all2.lua", ALL)
    path, live = recorded(script, [["a"], ["b"]], "--redact", "none", "--text")
    os.chmod(path, 0o644)
    command = ["unshare", "-n", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all",
               MOONWATCH, "replay", "-q", "--text", path, script]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), timeout=60)
    equal((done.returncode, done.stderr), (0, b""), "as nobody")
    equal(done.stdout, live, "what is told")


@test("without a script every event is recorded, and written by the replay")
def everything():
    path = mwr()
    with Record(path, "--redact", "none") as w:
        w.wait_recording()
        w.act("x y", "a\nb\x1b[31m")
        equal(w.stop(), 0, "exit status")
    found = [e for e in ours(events(path))]
    equal([words(e) for e in found], [["act", TAG, "x y", "a\nb\x1b[31m", "exit:0"]], "our exec")
    pid = at(found[0], "process.pid")
    equal([kind(e) for e in events(path) if at(e, "process.pid") == pid], ["fork", "exec", "exit"], "its events")
    status, out, errors = replay(path, "--text")
    check(b"\x1b[31m" not in out, "what steers a terminal")
    check(re.search(r"\d+ events of [\d.]+ s replayed in [\d.]+ s", errors), f"the summary: {errors}")


@test("a script that was not there is told the time by the events; what was not recorded has a reason")
def another():
    script = scratch_file("other.lua", """local mw = require "moonwatch"
local n = 0
mw.every(0.01, function() n = n + 1 end)
mw.at_exit(function() print("ticks", n) end)
return mw.script { name = "other", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then print(ev:maps()) print(mw.kill(ev)) end
end } }""".replace("TAG", TAG))
    path, _ = recorded(scratch_file("all3.lua", ALL), [["1"], ["2"], ["3"], ["4"]], "--redact", "none")
    told = tell_again(path, script, "--text").decode().splitlines()
    equal(told[:2], ["nil\tnot recorded", "nil\tnot sent: this is a replay"], "answers")
    ticks = int(told[-1].split("\t")[1])
    check(ticks >= 18, f"{ticks} times 10 ms between four events that are 60 ms apart")
    equal(told[-1], tell_again(path, script, "--text").decode().splitlines()[-1], "the second time")


@test("--from and --to tell a part; processes of before are known")
def parts():
    path, _ = recorded(scratch_file("all4.lua", ALL), [["1"], ["2"], ["3"], ["4"], ["5"]], "--redact", "none")
    times = [(at(e, "@timestamp"), words(e)[2]) for e in ours(events(path))]
    found = [words(e)[2] for e in ours(events(path, "--from", "+0s"))]
    equal(found, ["1", "2", "3", "4", "5"], "from the begin")
    script = scratch_file("who.lua", """local mw = require "moonwatch"
return mw.script { name = "who", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then print(ev.args[3], ev.parent and ev.parent.comm) end end } }""".replace("TAG", TAG))
    told = tell_again(path, script, "--text").decode().splitlines()
    parent = told[0].split("\t")[1]
    check(parent != "nil", "the parent is known")
    status, _, errors = replay(path, "--from", "noon")
    equal(status, 2, "a time that is none")
    check("--from takes" in errors, errors)
    # a begin and an end between the events
    begin = datetime.datetime.fromisoformat(at(events(path)[0], "@timestamp").replace("Z", "+00:00"))
    third = datetime.datetime.fromisoformat(times[2][0].replace("Z", "+00:00"))
    span = f"+{(third - begin).total_seconds() - 0.02:.3f}s"
    equal([words(e)[2] for e in ours(events(path, "--from", span))], ["3", "4", "5"], "from " + span)
    equal([words(e)[2] for e in ours(events(path, "--to", span))], ["1", "2"], "to " + span)
    equal(tell_again(path, script, "--text", "--from", span).decode().splitlines(), told[2:], "with the parent")


@test("--speed keeps the time between events")
def speed():
    path, _ = recorded(scratch_file("all5.lua", ALL), [["1"], ["2"], ["3"], ["4"], ["5"], ["6"]], "--redact", "none")
    found = ours(events(path))
    began = time.monotonic()
    equal(run("replay", "-q", "--speed", "1x", path)[0], 0, "exit status")
    took = time.monotonic() - began
    check(took > 0.06 * (len(found) - 1), f"{len(found)} events 60 ms apart were told in {took:.2f} s")
    equal(run("replay", "--speed", "fast", path)[0], 2, "a speed that is none")


@test("kill -9 of watch and recorder costs what was not yet written: the rest is whole, and the tear is said")
def killed():
    path = mwr()
    with Record(path, "--redact", "none") as w:
        w.wait_recording()
        for i in range(20):
            w.act(str(i))
        before = os.path.getsize(path)
        wait_until(lambda: os.path.getsize(path) > before, "a second's records to be written")
        for pid in w.workers():
            os.kill(pid, signal.SIGKILL)
        w.process.kill()
        w.process.wait()
    with open(path, "ab") as file:  # half a piece, as it would be written just then
        file.write(text(path)[-40:-7])
    status, out, errors = replay(path, "--json")
    equal(status, 0, "exit status")
    check("its end is torn off: 33 bytes" in errors, errors)
    equal([words(e)[2] for e in ours([json.loads(l) for l in out.splitlines()])], [str(i) for i in range(20)],
          "execs before the kill")


@test("the end of the recording process ends the watch, with the reason and status 1")
def recorder_dies():
    path = mwr()
    with Record(path, "--redact", "none") as w:
        w.wait_recording()
        for pid in w.workers():
            with open(f"/proc/{pid}/comm") as comm:
                if comm.read() == "moonwatch-rec\n":
                    os.kill(pid, signal.SIGKILL)
        equal(w.ended(), 1, "exit status")
        check("the process that records has ended" in w.stderr(), w.stderr())


@test("--size ends the watch; a file that is there is not written over")
def size():
    path = mwr()
    with Record(path, "--redact", "none", "--size", "64k") as w:
        w.wait_recording()
        until = time.monotonic() + 40
        while w.process.poll() is None and time.monotonic() < until:
            for _ in range(20):
                w.act(os.urandom(300).hex())
        equal(w.ended(), 0, "exit status")
    check(64 << 10 <= os.path.getsize(path) < 512 << 10, f"{os.path.getsize(path)} bytes")
    status, _, errors = run("record", "-o", path, "--for", "1s")
    equal((status, errors), (2, f"moonwatch: {path}: it is there already: remove it, or name another file\n"), "again")
    for words, said in ((["record"], "no file is named"), (["run", "-o", "x", "y.lua"], "-o belongs to"),
                        (["record", "-o", "x", "--single"], "--single records nothing"),
                        (["record", "-o", "x", "--size", "no"], "--size takes")):
        status, _, errors = run(*words)
        check(status == 2 and said in errors, f"{words}: {status}, {errors}")


@test("what is no recording is refused with a sentence")
def no_recording():
    script = scratch_file("all6.lua", ALL)
    for content, said in ((b"", "no recording"), (b"#!/bin/sh\n" * 100, "no recording"), (None, "No such file")):
        path = mwr()
        if content is not None:
            with open(path, "wb") as file:
                file.write(content)
        for words in (["replay", path, script], ["explain", path], ["backtest", "--on", path, script]):
            status, out, errors = run(*words)
            check(status == 2 and said in errors and out == "", f"{words[0]}: {status}, {errors}")
            equal(errors.count("\n"), 1, f"{words[0]}: lines of {errors}")


@test("--diff shows which alerts are of one version only")
def diff():
    def version(name, most):
        return scratch_file(name, """local mw = require "moonwatch"
return mw.script { name = "v", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" and tonumber(ev.args[3]) < MOST then
    mw.alert { severity = "high", key = ev.args[3], text = "\\27[31mseen", event = ev } end end } }"""
                            .replace("TAG", TAG).replace("MOST", str(most)))
    path, _ = recorded(scratch_file("all7.lua", ALL), [["1"], ["2"], ["3"]], "--redact", "none")
    old, new = version("old.lua", 2), version("new.lua", 4)
    status, out, errors = run("replay", "--diff", old, new, path)
    equal(status, 1, "exit status")
    equal([re.sub(r"\S+ event \d+", "EVENT", line) for line in out.splitlines()],
          [f"+ EVENT high     v: \\x1b[31mseen ({n})" for n in (2, 3)], "what differs")
    check("1 alerts of both, 0 only of" in errors, errors)
    equal(run("replay", "-q", "--diff", new, new, path), (0, "", ""), "the same twice")


@test("--bisect finds the event that an alert needs")
def bisect():
    script = scratch_file("three.lua", """local mw = require "moonwatch"
local w = mw.window { span = "10s" }
return mw.script { name = "three", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" and ev.args[3] ~= "no" then
    w:add("x")
    if w:count "x" == 3 then mw.alert { severity = "high", text = "three", event = ev } end
  end end } }""".replace("TAG", TAG))
    path, _ = recorded(scratch_file("all8.lua", ALL), [["no"], ["1"], ["no"], ["2"], ["3"], ["no"]], "--redact", "none")
    needed = next(e for e in ours(events(path)) if words(e)[2] == "1")
    status, out, errors = run("replay", "--bisect", path, script)
    equal((status, errors), (0, ""), "bisect")
    check(f"needs the events from {at(needed, 'event.sequence')} on" in out and f"act {TAG} 1" in out, out)
    status, out, errors = run("replay", "--bisect=2", path, script)
    check(status == 1 and "tell 1 alerts of this recording: there is no number 2" in errors, errors)


@test("a disk that is full costs events of the recording, which are counted, and never the watch")
def full():
    mount = os.path.join(scratch(), unique("tmpfs"))
    os.mkdir(mount)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], check=True)
    try:
        path = os.path.join(mount, "x.mwr")
        seen = scratch_file("seen.lua", """local mw = require "moonwatch"
return mw.script { name = "seen", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" and ev.args[3] == "last" then print "last" end end } }""".replace("TAG", TAG))
        with Record(path, "--redact", "none", "--text", scripts=[seen]) as w:
            w.wait_recording()
            for _ in range(800):
                w.act(os.urandom(400).hex())
            w.act("last")
            equal(w.stop(), 1, "exit status")
            check("could not be written by the recording: No space left on device" in w.stderr(), w.stderr())
        status, _, errors = replay(path, "--json")
        equal(status, 0, "what was written is whole")
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


@test("a recorder that gets no processor holds up nobody; what it missed is counted, and said in the replay")
def slow():
    path = mwr()
    script = scratch_file("count.lua", """local mw = require "moonwatch"
return mw.script { name = "count", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then print(ev.args[3]) mw.emit "" end end } }""".replace("TAG", TAG))
    with Record(path, "--redact", "none", "--text", "--ring", "512k", scripts=[script]) as w:
        w.wait_recording()
        w.act("first")
        wait_until(lambda: b"first" in text(w.told), "the first")
        pid = next(p for p in w.workers() if open(f"/proc/{p}/comm").read() == "moonwatch-rec\n")
        os.kill(pid, signal.SIGSTOP)
        for i in range(600):
            w.act(str(i), "x" * 600)
        wait_until(lambda: b"599" in text(w.told), "the last one while it stands still")
        os.kill(pid, signal.SIGCONT)
        w.act("end")
        equal(w.stop(), 0, "exit status")
        missed = re.search(r"([\d,]+) events missed by the recording", w.stderr())
        check(missed, w.stderr())
    status, _, errors = replay(path, "--json")
    found = re.search(r"(\d+) events are missing in the recording", errors)
    equal(int(found.group(1)) if found else None, int(missed.group(1).replace(",", "")), "missing in the replay")


@test("secrets are left out of what is written, the same one by the same token; a file says what is one")
def secrets():
    script = scratch_file("env.lua", """local mw = require "moonwatch"
return mw.script { name = "env", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then
    mw.after(0, function() end)
    for _, v in ipairs(ev:environ() or {}) do if v.name:match "^MY_" then print(ev.args[3], v.name, v.value) end end
  end end } }""".replace("TAG", TAG))
    for options, kept in (([], False), (["--redact", "none"], True), (["--redact", scratch_file("mine.lua", """
local usual = require "moonwatch.redact"
return { args = { { "--pin=([0-9]+)", has = { "--pin=" } } }, environ = usual.environ }
""")], None)):
        path = mwr()
        with Record(path, "--text", *options, scripts=[script]) as w:
            w.wait_recording()
            for word in ("--password=hunter2", "--password=hunter2", "--password=other", "--pin=1234"):
                before = text(w.told).count(b"MY_HOME")
                with Act("wait exit:0", args=(TAG, word), env=environment({"MY_TOKEN": "t0psecret", "MY_HOME": "/home/me"})) as one:
                    wait_until(lambda: text(w.told).count(b"MY_HOME") > before, "its environment")
                    one.go()
            equal(w.stop(), 0, "exit status")
            live = text(w.told)
        check(b"t0psecret" in live, f"the script sees all: {live[:300]}")
        found = [words(e)[2] for e in ours(events(path))]
        told = tell_again(path, script, "--text")
        if kept:
            equal(found, ["--password=hunter2", "--password=hunter2", "--password=other", "--pin=1234"], "with none")
            equal(told, live, "with none")
            continue
        token = r"\[redacted:[0-9a-f]{8}\]"
        if kept is None:
            check(re.fullmatch("--pin=" + token, found[3]) and found[0] == "--password=hunter2", f"one's own: {found}")
        else:
            check(all(re.fullmatch("--password=" + token, word) for word in found[:3]), f"args: {found}")
            equal((found[0] == found[1], found[0] == found[2], found[3]), (True, False, "--pin=1234"), "tokens")
        check(b"t0psecret" not in told and b"/home/me" in told and re.search(token.encode(), told), f"environ: {told}")
    status, _, errors = run("record", "-o", mwr(), "--redact", scratch_file("bad.lua", "return { args = { '(' } }"))
    check(status == 3 and "bad.lua: rule 1 of args: " in errors and errors.count("\n") == 1, errors)


@test("a recording of version 1 is read as it was when it was new")
def old():
    fixtures = os.path.join(ROOT, "tests", "fixtures")
    status, out, errors = replay(os.path.join(fixtures, "recording-v1.mwr"), "-q", "--json")
    equal((status, errors), (0, ""), "replay")
    equal(out.decode().splitlines(), text(os.path.join(fixtures, "recording-v1.jsonl")).decode().splitlines(), "its events")


@test("lines of JSON are replayed: ours tell the same, those of others what they say")
def lines():
    path, _ = recorded(scratch_file("all9.lua", ALL), [["1"], ["a\xff\nb"], ["3"]], "--redact", "none")
    ours_ = replay(path, "-q", "--json")[1]
    file = scratch_file("lines.jsonl", ours_)
    equal(run("replay", "-q", "--json", "--input", file)[1], ours_.decode(), "the lines that came in")
    script = scratch_file("tells.lua", """local mw = require "moonwatch"
return mw.script { name = "tells", on = {
  exec = function(ev) print(ev.type, ev.pid, ev.comm, ev.cmdline, ev.uid, ev.parent and ev.parent.comm) end,
  exit = function(ev) print(ev.type, ev.pid, ev.code, ev.comm) end } }""")
    others = (b'{"@timestamp":"2026-11-25T06:00:00.5Z","event":{"category":["process"],"action":"process_started"},'
              b'"process":{"pid":7,"executable":"/usr/bin/curl","args":["curl","-s"],"parent":{"pid":5,"name":"nginx"}},'
              b'"user":{"id":"33"}}\n'
              b'not JSON\n\n{"event":{"category":"network"}}\n'
              b'{"@timestamp":"2026-11-25T06:00:01.5Z","event.category":"process","event.action":"process_stopped",'
              b'"process.pid":7,"process.exit_code":3}\n')
    done = subprocess.run([MOONWATCH, "replay", "--text", "--input", "-", script], input=others, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment(), timeout=30)
    equal(done.stdout.decode(), "exec\t7\tcurl\tcurl -s\t33\tnginx\nexit\t7\t3\tcurl\n", "what the script tells")
    check(b"moonwatch: input, line 2: it is no JSON object: " in done.stderr and b"1 damaged pieces left out" in done.stderr,
          done.stderr)
    for words_, said in ((["--input", "/nonexistent", script], "No such file"), (["--input", "-", "--bisect", script], "--bisect takes"),
                         (["--input", "-", "--diff", script, script, "x"], "--diff takes")):
        status, _, errors = run("replay", *words_)
        check(status == 2 and said in errors, f"{words_}: {errors}")


ASKS = """local mw = require "moonwatch"
return mw.script { name = "asks", on = {
  snapshot = function(ev) if ev.args and ev.args[2] == "TAG" then mw.alert { severity = "low", key = "there", event = ev } end end,
  comm = function(ev)
    if ev.args and ev.args[2] == "TAG" then
      mw.alert { severity = "low", key = "named " .. ev:threads()[1].comm, event = ev }
    end
  end,
  exec = function(ev)
    if ev.args and ev.args[2] == "TAG" then
      local env, why = ev:environ()
      local value
      for _, one in ipairs(env or {}) do
        value = one.name == "OF_THE_TEST" and one.value or value
      end
      mw.alert { severity = "high", key = value or why, event = ev }
    end
  end } }
""".replace("TAG", TAG)


@test("test plays a recording with the answers of then, and --baseline counts what each script tells of one")
def tests_and_baselines():
    os.makedirs(os.path.join(scratch(), "played"), exist_ok=True)
    script, path = scratch_file("played/asks.lua", ASKS), os.path.join(scratch(), "played", "day.mwr")
    scratch_file("played/quiet.lua", 'return require("moonwatch").script { name = "quiet", on = { exec = function() end } }')
    scratch_file("played/throws.lua", 'return require("moonwatch").script { name = "throws", on = { exec = function() error "no" end } }')
    with Act("say:there wait exit:0", name="there", args=(TAG,)) as there:
        there.said()
        with Record(path, "--redact", "none", scripts=[script]) as w:
            w.wait_recording()
            for value in ("a", "b", "a"):
                with Act("wait name:one wait name:two wait exit:0", args=(TAG,), env={"OF_THE_TEST": value}) as act:
                    for n in (1, 2, 3):
                        wait_until(lambda: text(w.told).count(f'"pid":{act.pid},'.encode()) == n, "it is told of")
                        act.go()
            equal(w.stop(), 0, "exit status")
    tests = scratch_file("played/asks_test.lua", """local mw = require "moonwatch"
return {
  { name = "as then", recording = "day.mwr", alerts = { { key = "there" }, { key = "a" }, { key = "a" },
    { key = "b", severity = "high", event = { args = { "act", "TAG", mw.match.endswith "exit:0" } } },
    { key = "named one" }, { key = "named one" }, { key = "named one" },
    { key = "named two" }, { key = "named two" }, { key = "named two" } } },
  { name = "made up", events = { { args = { "act", "TAG" } } }, alerts = { { key = "nobody to ask: the events are not live" } } } }
""".replace("TAG", TAG))
    for name in (script, os.path.relpath(tests, scratch())):
        status, out, errors = run("test", name, cwd=scratch())
        equal((status, out, errors), (0, "ok 1 - asks.lua: as then\nok 2 - asks.lua: made up\n1..2\n", ""), out)

    status, out, errors = run("test", "--baseline", path, os.path.dirname(script))
    equal(status, 1, out + errors)
    found = out.splitlines()
    equal([line for line in found if "ok " in line], ["not ok 1 - asks.lua: at most 0 alerts in day.mwr",
          "ok 2 - quiet.lua: at most 0 alerts in day.mwr", "not ok 3 - throws.lua: at most 0 alerts in day.mwr"], out)
    execs = int(re.search(r", (\d+) execs$", found[1]).group(1))
    check(execs >= 3 and found[1].startswith(f"#   10 alerts, {10000 / execs:.2f} for 1,000 execs: "), found[1])
    equal(found[2:7], ["#          3  named one", "#          3  named two", "#          2  a", "#          1  b",
                       "#          1  there"], out)
    check(re.search(rf"^#   {execs} errors, the last: \S*throws.lua:1: no$", out, re.M), out)
    for allow, status in (("9", 1), ("10", 0)):
        equal(run("test", "--baseline", path, "--allow", allow, script)[0], status, f"--allow {allow}")
    status, out, errors = run("test", "--baseline", script, os.path.dirname(script))
    equal((status, out.count("\n"), errors), (3, 3, ""), "said once: " + out)
    check("not ok 1 - asks.lua: it can be loaded" in out and "no recording" in out, out)
    for options in (["--allow", "1"], ["--baseline", path, "--allow", "some"], ["--baseline", path, "--allow", "-1"]):
        equal(run("test", *options, script)[0], 2, f"status of {options}")


main()
