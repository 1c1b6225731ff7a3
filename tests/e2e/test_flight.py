"""test_flight.py - the last hours are on disk, within a bound, and what happened around an alert can be had."""
import json
import os
import re
import signal
import subprocess
import time

from mwcontrol import Controlled
from mwtest import (DEADLINE, Act, Failed, Watch, args_of, at, check, equal, helper, kind, main, note, run, scratch,
                    scratch_file, test, unique)

TAG = f"flight-{os.getpid()}"

TELLS = """local mw = require "moonwatch"
return mw.script { name = "tells", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then
    mw.alert { severity = "high", key = ev.args[3], text = "seen", event = ev, dump = DUMP }
  end
end } }
""".replace("TAG", TAG)


def state():
    return os.path.join(scratch(), unique("state"))


def script(dump="nil", name="tells"):
    return scratch_file(name + ".lua", TELLS.replace("DUMP", dump))


class Flight(Controlled):
    def __init__(self, directory, *options, scripts=()):
        self.state_dir = directory
        super().__init__("--json", "--state-dir", directory, "--redact", "none",
                         *(options if "--flight" in options else ("--flight", "8M", *options)), scripts=scripts or [script()])

    def act_of(self, *args):
        subprocess.run(["act", TAG, *args, "exit:0"], executable=helper("act"), check=True)

    def dumps(self):
        directory = os.path.join(self.state_dir, "dumps")
        return [os.path.join(directory, name) for name in sorted(os.listdir(directory))]


def events(path):
    status, out, errors = run("replay", "-q", "--json", path)
    equal((status, errors), (0, ""), f"replay of {path}")
    return [json.loads(line) for line in out.splitlines()]


def words(event):
    return [arg.decode(errors="replace") for arg in args_of(event) or ()]


def ours(found):
    return [words(e)[2] for e in found if kind(e) == "exec" and words(e)[1:2] == [TAG]]


@test("a run keeps the last hours; backtest says what a script would have told of them, over several runs")
def backtest():
    directory = state()
    for turn in range(2):
        with Flight(directory) as w:
            for i in range(3):
                w.act_of(f"k{i}")
            equal(w.stop(), 0, "exit status")
    flight = os.path.join(directory, "flight")
    equal(os.stat(flight).st_mode & 0o7777, 0o700, "mode of the directory")
    check(all(os.stat(os.path.join(flight, f)).st_mode & 0o7777 == 0o600 for f in os.listdir(flight)), "modes")
    # another one, which counts in both runs anew
    path = scratch_file("later.lua", """local mw = require "moonwatch"
local n = 0
return mw.script { name = "later", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then n = n + 1
    mw.alert { severity = "low", key = ev.args[3] == "k0" and "zero" or "other", text = tostring(n), event = ev } end
end } }""".replace("TAG", TAG))
    status, out, errors = run("backtest", "--on", flight, path)
    equal((status, errors), (0, ""), "backtest")
    check(re.search(r"^later: would have told 6 alerts since \d\d:\d\d:\d\d\n      4  other\n      2  zero\n$", out), out)
    status, out, _ = run("backtest", "-v", "--on", flight, path)
    equal(re.findall(r"later: (\d) ", out), list("123123"), "each run begins anew")
    status, out, errors = run("backtest", "--on", flight, "--since", "1h", path)
    check("would have told 6 alerts" in out, out + errors)
    status, out, errors = run("backtest", "--on", flight, "--since", "2030-01-01T00:00", path)
    check(status == 2 and "holds no event of that time" in errors, errors)
    status, _, errors = run("backtest", "--on", scratch(), path)
    check(status == 2 and "no recording of a flight recorder" in errors, errors)


@test("ctl dump writes the last seconds; with a pid, all of its family")
def dump():
    with Flight(state()) as w, Act("wait exit:0", args=(TAG, "old")) as old:
        w.act_of("early")
        w.act_of("late")
        status, out, errors = w.ctl("dump", "30s")
        equal((status, errors), (0, ""), "dump")
        path = out.strip()
        check(path.startswith(w.state_dir + "/dumps/") and path.endswith("-ctl.mwr"), path)
        equal(ours(events(path))[-2:], ["early", "late"], "in the dump")
        time.sleep(1.1)
        w.act_of("now")
        status, out, errors = w.ctl("--pid", str(old.pid), "dump", "1s")
        equal((status, errors), (0, ""), "dump of a family")
        found = events(out.strip())
        check("now" in ours(found) and "early" not in ours(found), f"within a second: {ours(found)}")
        check(any(at(e, "process.pid") == old.pid for e in found), "the process of the family")
        for words_, said in ((["dump"], "dump takes a span"), (["dump", "x"], "dump takes a span"),
                             (["--pid", "no", "dump", "1s"], "--pid takes"), (["--after", "1h", "dump", "1s"], "--after takes"),
                             (["--pid", "1", "status"], "belong to `dump`")):
            status, _, errors = w.ctl(*words_)
            check(status == 2 and said in errors, f"{words_}: {errors}")
        check(w.status()["flight"]["events"] > 0, "in the status")
        check("flight recorder" in w.ctl("status")[1], "shown")
    with Flight(state(), "--flight", "none") as w:
        status, _, errors = w.ctl("dump", "1s")
        check(status == 1 and "there is no flight recorder" in errors, errors)


@test("an alert has what was before and after it written, with the whole family, and the alert itself")
def alert_dump():
    with Flight(state(), scripts=[script('"500ms"')]) as w:
        parent = subprocess.Popen(["sh", "-c", f"true before; sleep 0.7; \"$0\" {TAG} x exit:0; \"$0\" child exit:0; sleep 0.2",
                                   helper("act")])
        w.wait_error("is written")
        parent.wait()
        path = w.dumps()[0]
        check(path.endswith("-tells.mwr"), path)
        found = events(path)
        family = [(kind(e), words(e)) for e in found if at(e, "process.pid") == parent.pid]
        check(("fork", ) in [(k,) for k, _ in family], f"the parent's fork, 0.7 s before: {family}")
        check(["x"] == ours(found), "the exec of the alert")
        check(any(words(e)[1:2] == ["child"] for e in found), "what came after it")
        status, out, errors = run("explain", path)
        check(status == 0 and "tells" in out, f"the alert is in it: {out} {errors}")


@test("too many dumps are refused and said; the oldest files make room")
def many():
    directory = state()
    os.makedirs(os.path.join(directory, "dumps"))
    for i in range(70):
        with open(os.path.join(directory, "dumps", f"2020{i:04}T000000.000000Z-old.mwr"), "w"):
            pass
    with Flight(directory, scripts=[script('"300ms"')]) as w:
        for i in range(25):
            w.act_of(f"k{i}")
        w.wait_error("what happened around its alert is not kept: Device or resource busy")
        w.wait_error("-tells.mwr is written")
    check(len(os.listdir(os.path.join(directory, "dumps"))) <= 64, "files are kept")


@test("the recorder stays within its bound")
def bound():
    directory = state()
    with Flight(directory, "--flight", "4M") as w:
        began = time.monotonic()
        flight = os.path.join(directory, "flight")

        def size():
            with os.scandir(flight) as entries:  # one may go just now
                return sum(os.path.getsize(e.path) for e in entries if os.path.exists(e.path))
        turned = False
        while not turned and time.monotonic() < began + 40:
            procs = [subprocess.Popen(["act", *[os.urandom(15000).hex() for _ in range(4)], "exit:0"],
                                      executable=helper("act")) for _ in range(8)]
            for p in procs:
                p.wait()
            check(size() <= 4 << 20, f"{size()} bytes")
            turned = "flight-00000001.mwr" not in os.listdir(flight)
        check(turned, f"the first file is gone after {time.monotonic() - began:.0f} s: {os.listdir(flight)}")
        note(f"{size()} bytes in {len(os.listdir(flight))} files")
        w.act_of("last")
        equal(w.stop(), 0, "exit status")
    equal(ours(events(flight)), ["last"], "the newest is there")


@test("a second watch does without; a directory that cannot be written does, too")
def second():
    directory = state()
    with Flight(directory) as one, Flight(directory) as two:
        one.act_of("x")
        two.wait_event(lambda e: at(e, "rule.name") == "tells", "the second watch tells all the same")
        check("flight" in one.status() and "flight" not in two.status(), "one has it")
    blocked = scratch_file("blocked", "")
    with Flight(blocked) as w:
        w.act_of("y")
        w.wait_event(lambda e: at(e, "rule.name") == "tells", "an alert")
        equal(w.stop(), 0, "exit status")


@test("the watch goes on when the recorder is killed, and says so")
def recorder_killed():
    with Flight(state()) as w:
        pid = next(p for p in w.workers() if open(f"/proc/{p}/comm").read() == "moonwatch-rec\n")
        os.kill(pid, signal.SIGKILL)
        w.wait_error("the process that records has ended")
        w.act_of("after")
        w.wait_event(lambda e: at(e, "rule.name") == "tells", "an alert after it")
        equal(w.stop(), 0, "exit status")


main()
