"""test_tap.py - each exec carries what it was given itself, with the tap and without."""
import os
import subprocess

from mwtest import (Failed, Skip, Watch, args_of, at, check, equal, helper, kind, main, note, of,
                    proc_read, scratch_file, source, test, unique)

LINKS = 200


def chain(*options, late=False):
    """What the execs of a process that execs itself were told with, and what they were given."""
    mark = unique("chain")
    argv = ["rechain", str(LINKS), mark]
    with Watch(*options) as w:
        if late:  # the collector reads only when all is over
            with w.stopped():
                p = subprocess.Popen(argv, executable=helper("rechain"))
                equal(p.wait(), 0, "status of the chain")
        else:
            p = subprocess.Popen(argv, executable=helper("rechain"))
            equal(p.wait(), 0, "status of the chain")
        w.wait_event(of(p.pid, "exit"), "the chain's end")
        execs = [e for e in list(w.events) if of(p.pid, "exec")(e)]
    equal(len(execs), LINKS + 1, "execs of the chain")
    return [args_of(e) for e in execs], [[b"rechain", b"%d" % left, mark.encode()]
                                         for left in range(LINKS, -1, -1)]


def tapped():
    """Skip where the tap cannot be had."""
    if source() != "tap":
        raise Skip("the tap cannot be had here")


@test("with the tap each exec of a chain has its own arguments")
def chain_tapped():
    tapped()
    found, wanted = chain()
    equal(found, wanted, "arguments along the chain")
    found, wanted = chain(late=True)
    equal(found, wanted, "arguments along the chain, read late")


def assert_own(found, wanted):
    wrong = [(f, w) for f, w in zip(found, wanted) if f is not None and f != w]
    note(f"{sum(f is not None for f in found)} of {len(found)} told")
    equal(wrong, [], "arguments of another exec")


def own_or_missing(*options):
    assert_own(*chain(*options))
    assert_own(*chain(*options, late=True))
    with_pause = unique("pause")
    with Watch(*options) as w:  # stopped in the middle, while an image stays to be read
        with w.stopped():
            p = subprocess.Popen(["act", with_pause, "exec:one exec:two exec:three wait"],
                                 executable=helper("act"), stdin=subprocess.PIPE)
            while proc_read(p.pid, "cmdline") is None or \
                    not proc_read(p.pid, "cmdline").startswith(b"three"):
                pass
        w.wait_event(lambda e: of(p.pid, "exec")(e) and at(e, "moonwatch.execs") == 4, "the last exec")
        p.communicate(b"\n")
        names = [a and a[0] for a in (args_of(e) for e in w.events if of(p.pid, "exec")(e))]
    assert_own(names, [b"act", b"one", b"two", b"three"])


@test("without the tap each exec of a chain has its own arguments or none")
def chain_without():
    own_or_missing("--without", "tap")


@test("without the tap and unbatched each exec of a chain has its own arguments or none")
def chain_unbatched():
    own_or_missing("--without", "tap", "--delay", "0")


@test("with the tap all of 3,000 short processes have their arguments")
def short_ones():
    tapped()
    count = 3000
    true = helper("act")
    mark = unique("short")
    with Watch() as w:
        pids = {}
        for i in range(count):
            p = subprocess.Popen(["short", mark, str(i), "exit:0"], executable=true)
            p.wait()
            pids[i] = p.pid
        w.wait_event(of(pids[count - 1], "exit"), "the last one's end", 30)
        found = {int(a[2]) for a in (args_of(e) for e in list(w.events) if kind(e) == "exec")
                 if a and len(a) == 4 and a[1] == mark.encode()}
        equal(sorted(set(range(count)) - found), [], "processes without arguments")


@test("a child that was moved before its exec is told with its new control group")
def moved():
    name = unique("moonwatch-e2e")
    base = next((b for b in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
                 if os.path.exists(b + "/cgroup.procs")), None)
    if not base:
        raise Skip("no unified hierarchy is mounted")
    group = f"{base}/{name}"
    try:
        os.mkdir(group)
    except OSError as problem:
        raise Skip(f"no control group can be made: {problem}")
    try:
        with Watch() as w:
            def move():
                with open(group + "/cgroup.procs", "w") as file:
                    file.write(str(os.getpid()))
            for _ in range(20):
                p = subprocess.Popen(["act", "wait"], executable=helper("act"), preexec_fn=move,
                                     stdin=subprocess.PIPE)
                event = w.wait_event(of(p.pid, "exec"), "the exec")
                p.communicate(b"\n")
                equal(at(event, "moonwatch.cgroup"), "/" + name, "control group")
                q = subprocess.Popen(["act", "exit:0"], executable=helper("act"))
                event = w.wait_event(of(q.pid, "exec"), "the exec outside")
                q.wait()
                check(at(event, "moonwatch.cgroup") != "/" + name, "the group of another")
    finally:
        os.rmdir(group)


@test("a process whose main thread ends first has the code that its parent gets")
def leader_first():
    path = os.path.join(os.path.dirname(helper("act")), "leader")
    source = scratch_file("leader.c", """
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *end(void *ctx) { (void)ctx; usleep(200); syscall(SYS_exit_group, 9); return 0; }
int main(void) { pthread_t t; pthread_create(&t, 0, end, 0); syscall(SYS_exit, 3); }
""")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-static", "-pthread", "-o", path, source], check=True)
    with Watch() as w:
        for _ in range(50):
            p = subprocess.Popen([path])
            status = p.wait()
            event = w.wait_event(of(p.pid, "exit"), "the exit")
            equal(at(event, "process.exit_code"), status, "code")


if __name__ == "__main__":
    main()
