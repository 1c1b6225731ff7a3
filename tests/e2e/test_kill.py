"""test_kill.py - scripts act on processes when the operator allows it, and on none but those that are
meant."""
import os
import signal
import time

from mwtest import Act, LeaderFirst, Skip, Watch, check, equal, main, proc_stat, test, unique

MARK = str(os.getpid())  # others may run the same tests, and theirs are not ours to kill

# Does what the second argument of an exec says.
ACTS = """
local mw = require "moonwatch"
local seen = {}
local function tell(what, ok, why) mw.emit { did = what, ok = ok or false, why = why } end
return mw.script { name = "acts", on = { exec = function(ev)
  local what = (ev.args and ev.args[2] or ""):match "^(.+)/MARK$"
  if what == "term" then tell(what, mw.kill(ev)) end
  if what == "kill" then tell(what, mw.kill(ev, "KILL")) end
  if what == "stop" then seen.stop = ev tell(what, mw.stop(ev)) end
  if what == "go-on" then tell(what, mw.cont(seen.stop)) end
  if what == "remember" then seen.first = ev tell(what, true) end
  if what == "hit-remembered" then tell(what, mw.kill(seen.first, "KILL")) end
  if what == "hit-first" then tell(what, mw.kill(mw.proc(1))) end
  if what == "mistake" then
    mw.emit { did = what, errors = {
      (select(2, pcall(mw.kill, ev.pid))), (select(2, pcall(mw.kill))), (select(2, pcall(mw.stop, nil))),
      (select(2, pcall(mw.kill, ev, "SEGV"))), (select(2, mw.kill({ pid = ev.pid }))),
      (select(2, mw.kill(ev, 11))) } }
  end
end } }
""".replace("MARK", MARK)


def did(w, what):
    return w.wait_event(lambda e: e.get("did") == what, what)


def quick(what):
    with Act("exit:0", args=[what + "/" + MARK]) as act:
        act.end()


def acts_on_processes(*options):
    name = unique("act")[:15]
    with Watch("--json", "--allow-kill", *options, scripts=[ACTS]) as w:
        for what, by in (("term", signal.SIGTERM), ("kill", signal.SIGKILL)):
            with Act("wait exit:0", name=name, args=[what + "/" + MARK]) as act:
                equal(did(w, what).get("ok"), True, what)
                equal(act.process.wait(15), -by, "how it ended")
                w.wait_error(f": {by.name} to {act.pid} (act): sent\n")
        with Act("wait exit:7", name=name, args=["stop/" + MARK]) as act:
            equal(did(w, "stop").get("ok"), True, "stop")
            w.wait(lambda: proc_stat(act.pid)[1][0] == b"T", "its halt")
            quick("go-on")
            equal(did(w, "go-on").get("ok"), True, "go-on")
            act.go()
            equal(act.end(), 7, "status")
        equal(w.stop(), 0, "status")


@test("mw.kill, mw.stop and mw.cont act on the process of an event, and the operator is told of each")
def acts():
    acts_on_processes()


@test("the same with scripts in this process")
def single():
    acts_on_processes("--single")


@test("without --allow-kill nothing is sent, and the script is told why")
def refused():
    with Watch("--json", scripts=[ACTS]) as w:
        with Act("wait exit:7", args=["kill/" + MARK]) as act:
            equal(did(w, "kill"), {"did": "kill", "ok": False,
                                   "why": "not allowed: start with --allow-kill"}, "kill")
            act.go()
            equal(act.end(), 7, "status")
        w.wait_error("not allowed: start with --allow-kill")
        equal(w.stop(), 0, "status")


@test("the next owner of a pid is never hit in place of the one that was meant")
def identity():
    with Watch("--json", "--allow-kill", scripts=[ACTS]) as w:
        with Act("wait exit:0", args=["remember/" + MARK]) as act:
            did(w, "remember")
            pid = act.pid
            began = int(proc_stat(pid)[1][19])
            act.go()
            equal(act.end(), 0, "status")
        while time.clock_gettime(time.CLOCK_BOOTTIME) * 100 < began + 3:  # as far as /proc tells apart
            time.sleep(0.001)
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(pid - 1))
        except OSError as refusal:
            raise Skip(f"pids cannot be chosen here: {refusal}") from refusal
        with Act("wait exit:7", args=["heir"]) as heir:
            if heir.pid != pid:
                raise Skip("somebody else got the pid")
            quick("hit-remembered")
            event = did(w, "hit-remembered")
            equal(event["ok"], False, "hit")
            check("gone" in event["why"], f"{event}")
            heir.go()
            equal(heir.end(), 7, "status of the heir")
        equal(w.stop(), 0, "status")


@test("a process whose main thread has ended is hit while others of it live")
def leader_first():
    acts = """
local mw, meant = require "moonwatch"
return mw.script { name = "acts", on = { exec = function(ev)
  if ev.args and ev.args[3] == "7-MARK" then meant = ev mw.emit { did = "remember" } end
  if ev.args and ev.args[2] == "hit/MARK" then
    local ok, why = mw.kill(meant, "KILL")
    mw.emit { did = "hit", ok = ok or false, why = why }
  end
end } }
""".replace("MARK", MARK)
    with Watch("--json", "--allow-kill", scripts=[acts]) as w, LeaderFirst("7-" + MARK) as left:
        did(w, "remember")
        left.end_main_thread()
        quick("hit")
        equal(did(w, "hit"), {"did": "hit", "ok": True}, "hit")
        equal(left.process.wait(15), -signal.SIGKILL, "how it ended")
        equal(w.stop(), 0, "status")


@test("the first process is never hit, and mistakes are told apart from refusals")
def mistakes():
    with Watch("--json", "--allow-kill", scripts=[ACTS]) as w:
        quick("hit-first")
        equal(did(w, "hit-first")["why"], "not allowed: it is the first process", "pid 1")
        quick("mistake")
        errors = did(w, "mistake")["errors"]
        for number in (0, 1, 2):
            check("an event or a process expected: a pid alone may be another's by now" in errors[number],
                  errors[number])
        check("no signal 'SEGV' can be sent" in errors[3], errors[3])
        check("it is not known when it started" in errors[4], errors[4])
        check("no such signal is sent" in errors[5], errors[5])
        equal(w.stop(), 0, "status")


if __name__ == "__main__":
    main()
