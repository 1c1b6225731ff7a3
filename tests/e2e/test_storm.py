"""test_storm.py - scripts that fall behind are told sums, exactly, and miss nothing."""
import os
import subprocess

from mwtest import DEADLINE, Watch, at, check, equal, helper, kind, main, note, pid_of, test

# What a script that cannot keep up is told: a line for each event, two milliseconds for each exec.
# It stops to count what is told one by one when the storm has ended.
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
    local until_ = os.clock() + 0.002
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

COUNT = 700
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


def phases(w):
    return [at(e, "moonwatch.phase") for e in w.events if kind(e) == "storm"]


@test("a script that falls behind is told when a storm begins and ends, and sums that are exact")
def exact():
    with Watch("--json", "--ring", "2M", scripts=[SLOW]) as w:
        parents = storm()
        w.wait_event(lambda e: e.get("ended"), "the end of the storm", 30)
        equal(w.stop(), 0, "status")
        seen = phases(w)
        equal((seen[0], seen[-1]), ("begin", "end"), "first and last phase")
        check("sum" in seen, f"no sums: {seen}")
        equal([e for e in w.events if "loss" in e], [], "losses")
        check("missed" not in w.stderr(), w.stderr())

        last = w.events[-1]
        for pid in map(str, parents):
            told, summed = last["told"].get(pid, 0), last["summed"].get(pid, 0)
            # each child is a fork, an exec and an exit
            equal(told + summed, 3 * COUNT, f"told {told} and summed {summed} of {pid}")
        total = sum(last["summed"].get(str(p), 0) for p in parents)
        check(total > 0, "nothing was summed")
        note(f"{total} of {3 * COUNT * len(parents)} events were summed in {seen.count('sum')} reports")


@test("the first exec of each program under each parent is told in full in a storm")
def firsts():
    with Watch("--json", "--ring", "2M", scripts=[SLOW]) as w:
        running = [p for p in spawners(PROGRAMS[0])]
        w.wait_event(lambda e: kind(e) == "storm", "the storm", 30)
        after = len(w.events)
        running += spawners(PROGRAMS[2])
        for p in running:
            equal(p.wait(60), 0, "status of the storm")
        w.wait_event(lambda e: e.get("ended"), "the end of the storm", 30)
        w.stop()
        for p in running[2:]:
            told = [e for e in w.events[after:] if e.get("first") == PROGRAMS[2] and e["ppid"] == p.pid]
            check(told, f"no exec of {PROGRAMS[2]} under {p.pid}")
            check(told[0]["exe"].endswith(PROGRAMS[2]), f"not whole: {told[0]}")


@test("a sum names the parent, its children and the span of time")
def named():
    with Watch("--json", "--ring", "2M", scripts=[SLOW]) as w:
        parents = storm()
        w.wait_event(lambda e: e.get("ended"), "the end of the storm", 30)
        w.stop()
        sums = [e for e in w.events if at(e, "moonwatch.phase") == "sum" and pid_of(e) in parents]
        check(sums, "no sum of the spawners")
        for e in sums:
            equal(at(e, "process.name"), "storm", "name of the parent")
            equal(at(e, "process.parent.pid"), os.getpid(), "parent of the parent")
            check(at(e, "moonwatch.distinct") == 1 or at(e, "moonwatch.summed") < 10, f"distinct: {e}")
            check(at(e, "event.start") <= at(e, "event.end"), f"times: {e}")
            check(at(e, "moonwatch.children") <= at(e, "moonwatch.summed"), f"children: {e}")


@test("beside it, a script without a handler for storms is told each event")
def others():
    everything = """
local mw = require "moonwatch"
local count = {}
local function add(ev) local p = tostring(ev.ppid) count[p] = (count[p] or 0) + 1 end
return mw.script { name = "all", on = { fork = add, exec = add, exit = add },
  mw.at_exit(function() mw.emit { all = count } end) }
"""
    with Watch("--json", "--ring", "2M", scripts=[everything, SLOW]) as w:
        parents = storm()
        w.wait_event(lambda e: e.get("ended"), "the end of the storm", 30)
        w.stop()
        count = [e for e in w.events if "all" in e][0]["all"]
        equal([count[str(p)] for p in parents], [3 * COUNT] * len(parents), "events")


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
