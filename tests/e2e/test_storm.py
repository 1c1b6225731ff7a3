"""test_storm.py - scripts that fall behind are told sums, exactly, and miss nothing."""
import os
import re
import signal
import subprocess

from mwtest import DEADLINE, Skip, Watch, at, check, equal, helper, kind, main, note, pid_of, test

# A script that cannot keep up: four milliseconds for each exec. At the end it says what it was told
# one by one and in sums, by parent.
SLOW = """
local mw = require "moonwatch"
local told, summed, children = {}, {}, {}
local function name(ev) return ev.ppid and tostring(ev.ppid) or "?" end
local function tell(ev)
  local parent = name(ev)
  told[parent] = (told[parent] or 0) + 1
end
return mw.script { name = "slow", on = {
  fork = tell,
  exit = tell,
  exec = function(ev)
    tell(ev)
    mw.emit { first = ev.comm, exe = ev.exe, ppid = ev.ppid, pid = ev.pid }
    local until_ = os.clock() + 0.004
    while os.clock() < until_ do end
  end,
  lost = function(ev) mw.emit { loss = ev.lost } end,
  storm = function(ev)
    mw.emit(ev)
    local parent = tostring(ev.pid or "?")
    if ev.phase == "sum" then
      summed[parent] = (summed[parent] or 0) + ev.summed
      children[parent] = (children[parent] or 0) + ev.children
    elseif ev.phase == "end" then
      mw.emit { ended = true }
    end
  end,
}, mw.at_exit(function() mw.emit { told = told, summed = summed, children = children } end) }
"""

COUNT = 600  # of 4 spawners: 7,200 records, between half of the ring's 8 MiB and all of it
PROGRAMS = ["storm-a", "storm-b", "storm-c"]


def spawners(program):
    """Two processes that each start COUNT short ones; the name of the child's program is its comm."""
    path = os.path.join(os.path.dirname(helper("act")), program)
    if not os.path.exists(path):
        os.link(helper("act"), path)
    return [subprocess.Popen([helper("storm"), str(COUNT), path, "exit:0"]) for _ in range(2)]


def storm():
    """Returns the pids of the spawners."""
    running = [p for program in PROGRAMS[:2] for p in spawners(program)]
    for p in running:
        equal(p.wait(60), 0, "status of the storm")
    return [p.pid for p in running]


def overrun(w):
    """A storm during which the scripts get no processor time: on any machine they are behind then,
    and on none so far that they miss something."""
    worker = w.worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        return storm()
    finally:
        os.kill(worker, signal.SIGCONT)


def phases(w):
    return [at(e, "moonwatch.phase") for e in w.events if kind(e) == "storm"]


def until_the_end(w, parents):
    w.wait_event(lambda e: e.get("ended"), "the end of the storm", 30)
    equal(w.stop(), 0, "status")
    events = int(re.search(r"([\d,]+) events in", w.stderr())[1].replace(",", ""))
    losses = [e for e in w.events if "loss" in e]
    if losses and events > 1.2 * 3 * COUNT * len(parents):
        raise Skip(f"others start too many processes meanwhile: {events} events")
    equal(losses, [], "losses")
    check("missed" not in w.stderr(), w.stderr())


@test("a script that is too slow is told when a storm begins and ends, and misses nothing")
def begins_and_ends():
    with Watch("--json", scripts=[SLOW]) as w:
        parents = storm()
        until_the_end(w, parents)
        seen = phases(w)
        equal((seen[0], seen[-1]), ("begin", "end"), "first and last phase")
        check("sum" in seen, f"no sums: {seen}")


@test("what was told and the sums are all events, exactly")
def exact():
    with Watch("--json", scripts=[SLOW]) as w:
        parents = overrun(w)
        w.wait_event(lambda e: at(e, "moonwatch.phase") == "begin", "the begin")
        late = spawners(PROGRAMS[2])  # while it is being told of
        for p in late:
            equal(p.wait(60), 0, "status of the storm")
        parents += [p.pid for p in late]
        until_the_end(w, parents)
        last = w.events[-1]
        for pid in map(str, parents):
            told, summed = last["told"].get(pid, 0), last["summed"].get(pid, 0)
            # each child is a fork, an exec and an exit
            equal(told + summed, 3 * COUNT, f"told {told} and summed {summed} of {pid}")
        total = sum(last["summed"].get(str(p), 0) for p in parents)
        check(total > 3 * COUNT, f"only {total} were summed")
        note(f"{total} of {3 * COUNT * len(parents)} events were summed")


@test("the first exec of each program is told in full in a storm")
def firsts():
    with Watch("--json", scripts=[SLOW]) as w:
        parents = overrun(w)
        until_the_end(w, parents)
        began = [n for n, e in enumerate(w.events) if at(e, "moonwatch.phase") == "begin"][0]
        for name in PROGRAMS[:2]:
            told = [e for e in w.events[began:] if e.get("first") == name]
            check(told, f"no exec of {name}")
            check(told[0]["exe"].endswith(name), f"not whole: {told[0]}")


@test("a sum names the parent, its children and the span of time")
def named():
    with Watch("--json", scripts=[SLOW]) as w:
        parents = overrun(w)
        until_the_end(w, parents)
        sums = [e for e in w.events if at(e, "moonwatch.phase") == "sum" and pid_of(e) in parents]
        equal({pid_of(e) for e in sums}, set(parents), "parents in the sums")
        for e in sums:
            equal(at(e, "process.name"), "storm", "name of the parent")
            equal(at(e, "process.parent.pid"), os.getpid(), "parent of the parent")
            equal(at(e, "moonwatch.distinct"), 1, "distinct names")
            check(at(e, "event.start") < at(e, "event.end"), f"times: {e}")
            check(COUNT / 2 < at(e, "moonwatch.children") < at(e, "moonwatch.summed"), f"children: {e}")


@test("beside it, a script without a handler for storms is told each event")
def others():
    everything = """
local mw = require "moonwatch"
local count = {}
local function add(ev) local p = tostring(ev.ppid) count[p] = (count[p] or 0) + 1 end
return mw.script { name = "all", on = { fork = add, exec = add, exit = add },
  mw.at_exit(function() mw.emit { all = count } end) }
"""
    with Watch("--json", scripts=[everything, SLOW]) as w:
        parents = overrun(w)
        until_the_end(w, parents)
        check("sum" in phases(w), "no sums for the one that asked")
        count = [e for e in w.events if "all" in e][0]["all"]
        equal([count[str(p)] for p in parents], [3 * COUNT] * len(parents), "events")


@test("who missed records catches up: to be told of all processes again is not asked for at each gap")
def gaps():
    slow = """
local mw = require "moonwatch"
local gaps, snapshots = 0, 0
mw.every(0.1, function() mw.emit { gaps = gaps, snapshots = snapshots } end)
return mw.script { name = "gaps", on = {
  snapshot = function() snapshots = snapshots + 1 local t = os.clock() + 0.001 while os.clock() < t do end end,
  lost = function(ev) gaps = gaps + 1 end,
} }
"""
    with Watch("--json", "--ring", "512k", scripts=[slow]) as w:
        worker = w.worker()
        first = w.wait_event(lambda e: e.get("snapshots"), "the processes of the start")
        os.kill(worker, signal.SIGSTOP)
        subprocess.run([helper("storm"), "1000", helper("act"), "exit:0"], check=True)
        os.kill(worker, signal.SIGCONT)
        after = w.wait_event(lambda e: e.get("gaps") and e["snapshots"] >= first["snapshots"] + 20,
                             "processes told again", 30)
        w.marker()
        last = w.wait_event(lambda e: "gaps" in e, "figures", after=len(w.events))
        note(f"{last['gaps']} gaps, {after['snapshots']} processes told")
        check(last["gaps"] < 2000, f"{last['gaps']} gaps: each makes the next one")


@test("the default view tells of each process, however many there are")
def view():
    with Watch("--json") as w:
        running = spawners(PROGRAMS[0])
        for p in running:
            equal(p.wait(60), 0, "status of the storm")
        w.marker()
        w.wait(lambda: len([1 for e in w.events if kind(e) == "exit" and at(e, "process.parent.pid")
                            in [p.pid for p in running]]) == 2 * COUNT, "all exits", DEADLINE)
        equal(phases(w), [], "storms")


if __name__ == "__main__":
    main()
