"""test_identity.py - the order is the kernel's, and no two processes or programs are taken for one."""
import collections
import contextlib
import os
import signal
import socket
import struct
import subprocess

from mwtest import (NETLINK_CONNECTOR, PROC_GROUP, Act, LeaderFirst, Watch, args_of, at, check, connector_message,
                    equal, helper, kind, main, note, of, pid_of, proc_read, scratch, short, source, test)

BOTH = ((), ("--single",))


def named_how(options):
    return "--single" if options else "with a worker"


# --- arrival order -----------------------------------------------------------------------------

KINDS = {1: "fork", 2: "exec", 0x80000000: "exit"}


class Witness:
    """Another listener, which takes down what the kernel sends: its numbers tell the order on each
    processor, and a gap in them a loss."""

    SO_RCVBUFFORCE = 33

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
        self.socket.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 64 << 20)
        self.socket.bind((0, PROC_GROUP))
        self.socket.send(connector_message(struct.pack("=I", 1), ack=1))
        self.socket.setblocking(False)

    def orders(self):
        """{cpu: [(kind, pid), ...]}, of main threads."""
        found, last = collections.defaultdict(list), {}
        while True:
            try:
                data = self.socket.recv(4096)
            except BlockingIOError:
                return found
            seq, = struct.unpack_from("=I", data, 24)
            what, cpu = struct.unpack_from("=II", data, 36)
            check(last.get(cpu, seq - 1 & 0xffffffff) == seq - 1 & 0xffffffff, "the witness lost nothing")
            last[cpu] = seq
            if what not in KINDS:
                continue
            tid, pid = struct.unpack_from("=II", data, 60 if what == 1 else 52)
            if tid == pid:
                found[cpu].append((KINDS[what], pid))

    def close(self):
        self.socket.send(connector_message(struct.pack("=I", 2)))
        self.socket.close()


STORM = 5000


def storm_of(options, storms=2):
    """The events of the children of so many storms at once, in the order of the output, and what
    another listener saw."""
    with Watch("--json", *options) as w:
        witness = Witness()
        running = [subprocess.Popen([helper("storm"), str(STORM), helper("act"), "exit:0"])
                   for _ in range(storms)]
        for p in running:
            equal(p.wait(), 0, "status of the storm")
        parents = {p.pid for p in running}
        w.marker()
        w.marker()
        orders = witness.orders()
        witness.close()
        equal(w.stop(), 0, "status")
        check(" 0 lost (proved)" in w.stderr(), f"nothing was lost: {w.stderr()}")
        check(not any(kind(e) == "storm" for e in w.events), "no event was summed up")
    sequence = [at(e, "event.sequence") for e in w.events]
    check(all(a < b for a, b in zip(sequence, sequence[1:])), "the output is in the order of `seq`")
    events = [e for e in w.events if at(e, "process.parent.pid") in parents]
    return events, orders


def backwards(stamps):
    steps = [b - a for a, b in zip(stamps, stamps[1:]) if b < a]
    return len(steps), -min(steps, default=0) * 1e6


@test("10,000 short processes on all processors: for each identity fork, exec, exit, in this order; no exit "
      "comes before its fork and no exec after its exit")
def order_of_each():
    for options in BOTH:
        events, _ = storm_of(options)
        lives = collections.defaultdict(list)
        for e in events:
            lives[at(e, "process.entity_id")].append(e)
        equal(len(lives), 2 * STORM, f"identities, {named_how(options)}")
        wrong = [[kind(e) for e in life] for life in lives.values()
                 if [kind(e) for e in life] != ["fork", "exec", "exit"]]
        equal(wrong, [], f"lives that are not fork, exec, exit, {named_how(options)}")
        for life in lives.values():
            stamps = [at(e, "moonwatch.mono") for e in life]
            check(stamps == sorted(stamps), f"one task's own stamps grow: {stamps}")
        count, most = backwards([at(e, "moonwatch.mono") for e in events])
        note(f"{named_how(options)}: `mono` goes back {count} times in {len(events)} events, by {most:.1f} us at most")


@test("the output keeps the kernel's order on each processor, though the stamps are not sorted")
def kernel_order():
    events, orders = storm_of(())
    told = collections.defaultdict(list)
    for e in events:
        told[at(e, "moonwatch.cpu")].append(e)
    ours = {pid_of(e) for e in events}
    equal(set(told), {cpu for cpu, all in orders.items() if any(pid in ours for _, pid in all)}, "processors")
    for cpu, events in told.items():
        wanted = [(what, pid) for what, pid in orders[cpu] if pid in ours]
        found = [(kind(e), pid_of(e)) for e in events]
        first = next((i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), None)
        check(found == wanted, f"processor {cpu}: {len(found)} of {len(wanted)} events, first difference at {first}")
        count, most = backwards([at(e, "moonwatch.mono") for e in events])
        note(f"processor {cpu}: {len(found)} events, `mono` goes back {count} times, by {most:.1f} us at most")


# --- a pid that is given out again ---------------------------------------------------------------

ROUNDS = 300


def lives_below(events, parents, pids=None):
    """What was told of each child of these parents, from its fork to the next fork with its pid, which may be
    anybody's: others had that pid before and may have it after."""
    lives, current = [], {}
    for e in events:
        if kind(e) == "fork":
            current.pop(pid_of(e), None)
            if at(e, "process.parent.pid") in parents and (pids is None or pid_of(e) in pids):
                current[pid_of(e)] = []
                lives.append(current[pid_of(e)])
        if pid_of(e) in current:
            current[pid_of(e)].append(e)
    return lives


def reuse(w, ticks):
    """[(round, middle pid, pid, ns, events of this round, events of its child)]"""
    p = subprocess.Popen([helper("reuse"), str(ROUNDS), str(ticks), helper("act")],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    rows = []
    for line in p.stdout:
        middle, pid, status, ns = (int(word) for word in line.split())
        equal(status, len(rows) % 256 << 8, "status of the helper itself")
        rows.append((middle, pid, ns))
        if len(rows) == ROUNDS:
            break
    equal(len(rows), ROUNDS, f"rounds; the helper's status is {p.poll()}")
    pid = rows[0][1]
    equal({row[1] for row in rows}, {pid}, "pids")
    w.marker()
    p.stdin.close()  # now the children end, whose parents are long gone
    p.wait()
    middles = {row[0] for row in rows}
    w.wait(lambda: sum(of(pid, "exit")(e) and at(e, "process.parent.pid") in middles for e in w.events) >= ROUNDS,
           f"{ROUNDS} exits of the pid")
    w.wait(lambda: sum(kind(e) == "exit" and at(e, "process.parent.pid") == pid for e in w.events) >= ROUNDS,
           "the children's exits")
    lives = lives_below(w.events, middles, {pid})
    equal([[kind(e) for e in life] for life in lives if [kind(e) for e in life] != ["fork", "exec", "exit"]], [],
          "lives that are not fork, exec, exit")
    equal(len(lives), ROUNDS, "lives of the pid")
    offspring = lives_below(w.events, {pid})
    equal(len(offspring), ROUNDS, "children")
    return pid, rows, lives, offspring


def check_reuse(options, ticks, distinct):
    with Watch("--json", *options) as w:
        pid, rows, lives, offspring = reuse(w, ticks)
        missing = 0
        for number, ((middle, _, ns), (fork, execed, exited)) in enumerate(zip(rows, lives)):
            name = b"round-%d" % number
            life = (fork, execed, exited)
            equal({at(e, "process.parent.pid") for e in life}, {middle}, f"parent in round {number}")
            equal(len({at(e, "process.entity_id") for e in life}), 1, f"identities in round {number}")
            for e in life[1:]:
                if args_of(e) is None:
                    missing += 1
                elif not distinct and source() != "tap" and args_of(e)[0] != name:
                    # read late from /proc, which tells owners apart by their tick: the next one, before its exec
                    equal(os.path.basename(args_of(e)[0]), b"reuse", f"arguments in round {number}")
                    missing += 1
                else:
                    equal(args_of(e)[0], name, f"arguments of the {kind(e)} in round {number}")
            equal(at(exited, "process.exit_code"), number % 256, f"code in round {number}")
            check(0 < at(exited, "event.duration") <= ns, f"duration in round {number}: "
                  f"{at(exited, 'event.duration')} of {ns}")
        identities = {at(life[0], "process.entity_id") for life in lives}
        if distinct:
            equal(len(identities), ROUNDS, "identities")
        for number, events in enumerate(offspring):
            equal([kind(e) for e in events], ["fork", "exec", "exit"], f"events of child {number}")
            for e in events:
                equal(at(e, "process.parent.entity_id"), at(lives[number][0], "process.entity_id"),
                      f"parent's identity in the {kind(e)} of child {number}")
                if at(lives[number][1], "process.args"):
                    equal((at(e, "process.parent.args") or [None])[0], f"round-{number}",
                          f"parent's arguments in the {kind(e)} of child {number}")
            equal(at(events[2], "process.exit_code"), (number + 100) % 256, f"code of child {number}")
        note(f"{named_how(options)}: pid {pid} had {ROUNDS} owners with {len(identities)} identities; "
             f"arguments missing in {missing} of {2 * ROUNDS} events")


@test("300 processes one after the other with one pid are 300 identities, each with its own arguments, code, "
      "duration, parent and child")
def reused():
    for options in BOTH:
        check_reuse(options, 2, True)


@test("300 processes with one pid within a few clock ticks: an identity may name more than one, but nothing of "
      "one is told of another")
def reused_at_once():
    for options in BOTH:
        check_reuse(options, 0, False)


# --- execs of one process ----------------------------------------------------------------------

LINKS = 50


class Busy:
    """Storms that go on meanwhile, one for each processor and one more."""

    def __enter__(self):
        self.running = [subprocess.Popen([helper("storm"), "1000000", helper("act"), "exit:0"])
                        for _ in range(os.cpu_count() + 1)]
        return self

    def __exit__(self, *_):
        for p in self.running:
            p.kill()
            p.wait()


def links(w, chains):
    """Run chains, and compare: (wrong ones, execs with arguments, execs)."""
    first = os.path.join(scratch(), "links", "link-0")
    if not os.path.exists(first):
        os.mkdir(os.path.dirname(first))
        for number in range(LINKS + 1):
            os.link(helper("chain"), os.path.join(os.path.dirname(first), f"link-{number}"))
    pids = []
    for turn in range(chains):
        p = subprocess.Popen(["link-0", "0", str(LINKS), str(turn)], executable=first)
        pids.append(p.pid)
        equal(p.wait(), turn, "status of the helper itself")
    for pid in pids:
        w.wait_event(of(pid, "exit"), "the exit of a chain")
    wrong, named, all = [], collections.Counter(), chains * (LINKS + 1)
    for turn, pid in enumerate(pids):
        events = [e for e in w.events if pid_of(e) == pid]
        equal([kind(e) for e in events], ["fork"] + ["exec"] * (LINKS + 1) + ["exit"], "events of a chain")
        equal(len({at(e, "process.entity_id") for e in events}), 1, "identities of a chain")
        for number, e in enumerate(events[1:-1]):
            equal(at(e, "moonwatch.execs"), number + 1, "execs")
            link = f"link-{number}"
            for field, found, wanted in (
                    ("args", at(e, "process.args"), [link, str(number), str(LINKS), str(turn)]),
                    ("exe", at(e, "process.executable"), os.path.join(os.path.dirname(first), link)),
                    ("comm", at(e, "process.name"), link)):
                named[field] += found is not None
                if found is None:
                    check(at(e, "moonwatch.missing." + field), f"why there is no {field}")
                elif found != wanted:
                    wrong.append((number, field, found))
        equal(at(events[-1], "process.exit_code"), turn, "code")
    return wrong, named, all


@test("each exec of a process that execs 50 times at once has its own arguments, program and name or says why not, "
      "never those of another exec")
def chain():
    for options in BOTH:
        for busy in (False, True):
            with Watch("--json", *options) as w:
                with Busy() if busy else contextlib.nullcontext():
                    wrong, named, all = links(w, 20 if busy else 40)
            note(f"{named_how(options)}{', busy' if busy else ''}: of {all} execs " +
                 ", ".join(f"{named[field]} have {field}" for field in named) + f"; {len(wrong)} are of another exec")
            equal(wrong, [], "(exec, field, what was told)")


@test("execs that the collector reads late, all of them at once, have no arguments of a later one")
def chain_late():
    with Watch("--json") as w:
        act = helper("act")
        with w.stopped():  # at the end all of it is queued, and the last program lives on
            p = subprocess.Popen(["sh", "-c", f"exec env nice {act} 'wait exit:3'"], stdin=subprocess.PIPE)
            while not (proc_read(p.pid, "cmdline") or b"").startswith(act.encode()):
                equal(p.poll(), None, "status of the helper itself")
        w.wait(lambda: sum(of(p.pid, "exec")(e) for e in w.events) >= 4, "four execs")
        w.marker()
        p.communicate(b"\n")
        w.wait_event(of(p.pid, "exit"), "the exit")
        execs = [e for e in w.events if of(p.pid, "exec")(e)]
        program = [b"sh", b"env", b"nice", act.encode()]
        equal(len(execs), 4, "execs")
        for e, name in zip(execs, program):
            if args_of(e) is not None:
                equal(args_of(e)[0], name, "arguments")
            else:
                check(at(e, "moonwatch.missing.args"), "why the arguments are missing")
            if at(e, "process.executable") is not None:
                equal(at(e, "process.executable"), os.path.realpath(which(name.decode())), "program")
            if at(e, "process.name") is not None:
                equal(at(e, "process.name"), os.path.basename(name.decode()), "name")
        equal(args_of(execs[-1]), [act.encode(), b"wait exit:3"], "arguments of the last exec")


def which(name):
    return name if "/" in name else next(p for p in (d + "/" + name for d in os.environ["PATH"].split(":"))
                                         if os.path.exists(p))


# --- main threads that end first ---------------------------------------------------------------


@test("when the main thread ended first, the exit tells the signal that ended the rest")
def leader_first_signal():
    for options in BOTH:
        with Watch("--json", *options) as w, LeaderFirst(7) as p:
            p.end_main_thread()
            w.marker()
            p.end(signal.SIGKILL)
            exited = w.wait_event(of(p.pid, "exit"), "the exit")
            w.marker()
            events = [kind(e) for e in w.events if pid_of(e) == p.pid]
            equal(events, ["fork", "exec", "exit"], "events")
            equal(at(exited, "process.exit_code"), None, "code")
            if at(exited, "moonwatch.missing.code") is None:
                equal(at(exited, "moonwatch.signal"), signal.SIGKILL, "signal")


@test("when the main thread ended first and another thread execs, it is the same process, with one exit")
def leader_first_exec():
    for options in BOTH:
        with Watch("--json", *options) as w, \
                LeaderFirst(becomes=[helper("act"), "became", "wait exit:6"]) as p:
            p.end_main_thread()
            w.marker()
            p.process.stdin.write(b"\n")  # the exec
            w.wait_event(lambda e: of(p.pid, "exec")(e) and args_of(e) == [b"became", b"wait exit:6"], "the exec")
            w.marker()
            equal([kind(e) for e in w.events if pid_of(e) == p.pid], ["fork", "exec", "exec"], "events before the end")
            equal(p.end(), 6, "status of the helper itself")
            exited = w.wait_event(of(p.pid, "exit"), "the exit")
            w.marker()
            events = [e for e in w.events if pid_of(e) == p.pid]
            equal([kind(e) for e in events], ["fork", "exec", "exec", "exit"], "events")
            equal(len({at(e, "process.entity_id") for e in events}), 1, "identities")
            equal(at(exited, "process.exit_code"), 6, "code")


@test("an exec by another than the main thread that is read late is told as an exec, and no exit before it")
def thread_exec_late():
    with Watch("--json") as w:
        for turn in range(5):
            with w.stopped():
                p = subprocess.Popen([helper("threads"), "exec", helper("act"), "became", "wait exit:6"],
                                     stdin=subprocess.PIPE)
                while not (proc_read(p.pid, "cmdline") or b"").startswith(b"became"):
                    equal(p.poll(), None, "status of the helper itself")
            w.wait_event(lambda e: of(p.pid, "exec")(e) and at(e, "moonwatch.execs") == 2, "the exec")
            p.communicate(b"\n")
            w.wait_event(of(p.pid, "exit"), "the exit")
            w.marker()
            events = [e for e in w.events if pid_of(e) == p.pid]
            equal([kind(e) for e in events], ["fork", "exec", "exec", "exit"], f"events in turn {turn}")
            equal(args_of(events[2]), [b"became", b"wait exit:6"], "arguments")
            equal(at(events[3], "process.exit_code"), 6, "code")


# --- parents that are gone ---------------------------------------------------------------------

PARENT = """
local mw = require "moonwatch"
local function tell(ev)
  if not (ev.parent and ev.parent.cmdline and ev.parent.cmdline:find("reparented", 1, true)) then return end
  mw.emit { of = ev.pid, type = ev.type, ppid = ev.ppid, parent = ev.parent.pid, comm = ev.parent.comm,
            grand = ev.parent.parent and ev.parent.parent.pid }
end
return mw.script { name = "parent", on = { fork = tell, exec = tell, exit = tell } }
"""


@test("a child that a subreaper took over keeps the parent that forked it, in its exec and in its exit")
def reparented():
    for options in BOTH:
        with Watch("--json", *options, scripts=[PARENT]) as w:
            with Act("subreaper say:grand child name:middle say:middle orphan say:child wait say:later "
                     "exec:moved wait exit:4 | reap exit:0", args=["reparented"]) as act:
                said = {}
                for _ in range(3):
                    word, pid, above = act.said()
                    said[word] = int(pid), int(above)
                middle, child = said["middle"][0], said["child"][0]
                w.marker()
                act.go()
                equal(act.said(), ["later", str(child), str(act.pid)], "the subreaper is the child's parent by now")
                w.wait_event(lambda e: e.get("of") == child and e["type"] == "exec", "the exec")
                act.go()
                equal(act.end(), 0, "status of the helper itself")
                w.wait_event(lambda e: e.get("of") == child and e["type"] == "exit", "the exit")
                told = [e for e in w.events if e.get("of") == child]
                equal([e["type"] for e in told], ["fork", "exec", "exit"], "events")
                for e in told:
                    equal((e["ppid"], e["parent"], e["comm"], e["grand"]), (middle, middle, "middle", act.pid),
                          f"ppid, parent, its name and its parent in the {e['type']}")


@test("200 children whose parents were reaped before they ended are told with these parents")
def parent_reaped_first():
    for options in BOTH:
        with Watch("--json", *options) as w:
            pairs = []
            for _ in range(200):
                with Act("say:parent orphan say:child exec:orphaned exit:9") as act:
                    parent = int(act.said()[1])
                    child = int(act.said()[1])
                    act.process.wait()
                pairs.append((parent, child))
            for parent, child in pairs:
                w.wait_event(of(child, "exit"), "the exit")
                events = [e for e in w.events if pid_of(e) == child]
                equal([kind(e) for e in events], ["fork", "exec", "exit"], "events of the child")
                identity = {at(e, "process.entity_id") for e in w.events if pid_of(e) == parent}
                equal(len(identity), 1, "identities of the parent")
                for e in events:
                    equal((at(e, "process.parent.pid"), {at(e, "process.parent.entity_id")}), (parent, identity),
                          f"parent in the {kind(e)}")
                    args = at(e, "process.parent.args")  # the parent may have ended before it was read
                    check(args is None or args[0] == "act", f"its arguments: {short(args)}")
                equal(at(events[-1], "process.exit_code"), 9, "code")


if __name__ == "__main__":
    main()
