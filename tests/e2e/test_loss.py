"""test_loss.py - what the kernel could not deliver is counted, told, and repaired from /proc."""
import os
import re
import signal
import subprocess
import time
from datetime import datetime

from mwtest import (Act, Failed, LeaderFirst, Watch, at, check, equal, helper, kind, main, note, of,
                    proc_read, proc_stat, test)

VIEW = """
local mw = require "moonwatch"
local function hex(text)
  return text and (text:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end
local function view()
  local all = {}
  for p in mw.processes() do
    local args
    if p.args then
      args = {}
      for i, arg in ipairs(p.args) do args[i] = hex(arg) end
      args = table.concat(args, " ")
    end
    all[#all + 1] = { pid = p.pid, starttime = p.starttime, comm = hex(p.comm), args = args,
                      uid = p.uid, sid = p.sid }
  end
  mw.emit { view = all, time = mw.now() }
end
mw.every(0.25, view)
return mw.script { name = "view", on = { lost = mw.emit } }
"""


def storm(count=400, parents=3):
    """`parents` processes, each of which starts COUNT short ones."""
    act = helper("act")
    running = [subprocess.Popen([helper("storm"), str(count), act, "exit:0"]) for _ in range(parents)]
    for p in running:
        equal(p.wait(), 0, "status of the storm")


def seconds(text):
    return datetime.fromisoformat(text).timestamp()


def lose(w):
    """Storm until a loss is told of; a fast enough collector is made slow by stopping it."""
    storm()
    with w.stopped():
        storm(50)
    return w.wait_event(lambda e: kind(e) == "lost", "a lost event")


# --- the two views -----------------------------------------------------------------------------


def in_proc():
    """{(pid, starttime): facts} of all that is alive and no zombie."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        stat, args, status = proc_stat(name), proc_read(name, "cmdline"), proc_read(name, "status")
        if not stat or args is None or status is None or stat[1][0] in (b"Z", b"X"):
            continue
        comm, fields = stat
        kernel_thread = int(fields[6]) & 0x00200000
        uid = re.search(rb"^Uid:\t(\d+)", status, re.M)
        found[int(name), int(fields[19])] = {
            # kernel workers change the name that /proc shows without a word to anybody
            "comm": None if kernel_thread else comm.hex(),
            "args": None if kernel_thread else in_hex(args),
            "uid": uid and int(uid[1]),
            "sid": int(fields[3]),
        }
    return found


def in_hex(args):
    whole = args if args.endswith(b"\0") or not args else args + b"\0"
    return " ".join(a.hex() for a in whole.split(b"\0")[:-1])


def same_start(a, b):
    return abs(a - b) <= 1


def differences(view, before, after, began):
    """What is wrong with a view that was taken between two looks at /proc."""
    wrong = []
    told = {}
    for p in view:
        if p["pid"] in told:
            wrong.append(f"pid {p['pid']} twice")
        told[p["pid"]] = p
    for (pid, start), facts in before.items():
        if after.get((pid, start)) != facts:
            continue  # it changed meanwhile: either may be right
        p = told.get(pid)
        if not p or not same_start(p["starttime"], start):
            wrong.append(f"{pid} is missing: {facts}")
            continue
        for name, value in facts.items():
            if value is not None and p.get(name) != value:
                wrong.append(f"{pid}: {name} is {p.get(name)!r}, in /proc {value!r}")
    known = {pid: start for pid, start in list(before) + list(after)}
    for p in view:
        known_start = known.get(p["pid"])
        # born after the first look and gone before the second: both cannot know it
        if p["starttime"] < began and (known_start is None or not same_start(known_start, p["starttime"])):
            wrong.append(f"{p['pid']} does not live: {p}")
    return wrong


def ticks_now():
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100) - 1


def wait_for_equal_views(w, deadline=15):
    """Until the script's view is that of /proc; how many views that took."""
    until = time.monotonic() + deadline
    tries = 0
    while True:
        tries += 1
        began, before, stamp, seen = ticks_now(), in_proc(), time.time(), len(w.events)
        view = w.wait_event(lambda e: "view" in e and e["time"] > stamp, "a view", after=seen)["view"]
        wrong = differences(view, before, in_proc(), began)
        if not wrong:
            return tries, len(view)
        if time.monotonic() > until:
            raise Failed("the view differs from /proc:\n" + "\n".join(wrong[:10]))


# --- tests -------------------------------------------------------------------------------------


@test("a loss is told as an event with its number and its time, and counted in the summary")
def told():
    with Watch("--json", "--buffer", "4096") as w:
        lost = lose(w)
        check(at(lost, "moonwatch.lost") > 0, "a count")
        check(seconds(at(lost, "event.start")) <= seconds(at(lost, "event.end")), "from <= until")
        check(abs(seconds(at(lost, "event.end")) - time.time()) < 60, "a time of now")
        equal(w.stop(), 0, "status")
        total = sum(at(e, "moonwatch.lost") for e in w.events if kind(e) == "lost")
        found = re.search(r"([\d,]+) lost \(proved\)", w.stderr())
        check(found, f"the summary: {w.stderr()}")
        equal(int(found[1].replace(",", "")), total, "lost, in the summary and in all events")
        note(f"{total} lost")


@test("the kernel's own figure of drops is the one that is told")
def kernel_figure():
    with Watch("--json", "--buffer", "4096") as w:
        with w.stopped():
            storm(100)
            dropped = drops_of(w.pid)
            check(dropped > 0, "the kernel dropped some")
        w.wait(lambda: sum(at(e, "moonwatch.lost") for e in w.events if kind(e) == "lost") >= dropped,
               f"{dropped} lost")
        dropped = drops_of(w.pid)
        w.stop()
        total = sum(at(e, "moonwatch.lost") for e in w.events if kind(e) == "lost")
        check(total >= dropped, f"told of {total}, the kernel dropped {dropped}")
        # what is lost between the figure and the end can be a little more, not a multiple
        check(total <= dropped * 2 + 100, f"told of {total}, the kernel dropped {dropped}")


def drops_of(pid):
    """The drops of the process's connector sockets, as /proc/net/netlink counts them; the one for execs alone,
    which it has without the tap, is large."""
    inodes, drops = set(), []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            continue
        if found:
            inodes.add(found[1])
    for line in open("/proc/net/netlink"):
        row = line.split()
        if row[1] == "11" and row[-1] in inodes:
            drops.append(int(row[8]))
    if not drops:
        raise Failed("the process has no connector socket")
    return sum(drops)


@test("after a loss and its repair a script's view of all living processes equals /proc")
def repaired():
    with Watch("--json", "--buffer", "4096", scripts=[VIEW]) as w:
        wait_for_equal_views(w)
        with Act("wait exit:0", "ended-in-the-gap") as ended, Act("wait name:renamed say:x wait") as renamed, \
                Act("wait setresuid:1234,1234,1234 setsid exec:became say:x wait") as became:
            with w.stopped():
                storm(50)
                # from here on the queue is full: nothing of this is told
                ended.go()
                ended.process.wait()
                renamed.go(), became.go()
                renamed.said(), became.said()
                with Act("say:x wait", "born-in-the-gap") as born:
                    born.said()
                    os.kill(w.pid, signal.SIGCONT)
                    lose(w)
                    tries, size = wait_for_equal_views(w)
                    note(f"equal after {tries} views of {size} processes")
        w.marker()


@test("what a loss hid is told as inferred: an exit without code, and a process that was born")
def inferred():
    with Watch("--json", "--buffer", "4096") as w, Act("wait exit:5") as ended:
        w.wait_event(of(ended.pid, "exec"), "the exec")
        with w.stopped():
            storm(50)
            ended.go()
            ended.process.wait()
            with Act("say:x wait", "born-in-the-gap") as born:
                born.said()
                os.kill(w.pid, signal.SIGCONT)
                exited = w.wait_event(of(ended.pid, "exit"), "the exit")
                equal(at(exited, "moonwatch.inferred"), True, "inferred")
                equal(at(exited, "process.exit_code"), None, "code")
                check(at(exited, "moonwatch.missing.code"), "why the code is missing")
                found = w.wait_event(of(born.pid, "snapshot"), "the one that was born")
                equal(at(found, "moonwatch.inferred"), True, "inferred")
                equal(at(found, "process.args"), ["born-in-the-gap", "say:x wait"], "arguments")
        w.stop()
        check(re.search(r"[1-9]\d* inferred from /proc", w.stderr()), w.stderr())


@test("a process whose main thread ended in the gap is told as ended when it ends, not before")
def leader_first_and_loss():
    with Watch("--json", "--buffer", "4096") as w, LeaderFirst(7) as p:
        w.wait_event(of(p.pid, "exec"), "the exec")
        with Act("wait exit:5") as other:
            w.wait_event(of(other.pid, "exec"), "the exec")
            with w.stopped():
                storm(50)
                p.end_main_thread()
                other.go()
                other.process.wait()
            # by now /proc was looked at, and who was not there is told as ended
            w.wait_event(of(other.pid, "exit"), "the inferred exit")
        w.marker()
        equal([kind(e) for e in w.events if of(p.pid, "exit")(e)], [], "exits of a living process")
        p.end()
        w.wait_event(of(p.pid, "exit"), "the exit", 8)


@test("at the usual size of the buffer the same storm loses nothing")
def nothing_lost():
    with Watch("--json", lines=["lost: true", "exit: false"]) as w:
        storm()
        w.marker()
        equal(w.stop(), 0, "status")
        check(" 0 lost (proved)" in w.stderr(), w.stderr())
        equal([e for e in w.events if kind(e) == "lost"], [], "lost events")


if __name__ == "__main__":
    main()
