"""test_reload.py - scripts are loaded anew when their files change, between two events, and a version
that does not load leaves the one before alone."""
import os
import re
import signal
import subprocess
import time

from mwtest import DEADLINE, Watch, check, equal, helper, main, note, proc_status, run, \
    scratch, test, unique

# Tells each exec that is ours, and which version it is.
PROBE = """
local mw = require "moonwatch"
local seen = 0
return mw.script { name = "NAME", on = { exec = function(ev)
  if ev.args and ev.args[2] == "moonwatch-e2e-probe" then
    seen = seen + 1
    mw.emit { by = "NAME", version = VERSION, probe = ev.args[3], seen = seen, seq = ev.seq }
  end
end } }
"""


def probe(name, version):
    return PROBE.replace("NAME", name).replace("VERSION", str(version))


class Place:
    """A directory of scripts."""

    def __init__(self, **scripts):
        self.path = os.path.join(scratch(), unique("scripts"))
        os.mkdir(self.path)
        for name, text in scripts.items():
            self.write(name, text)

    def file(self, name):
        return os.path.join(self.path, name + ".lua")

    def write(self, name, text):
        """In place, as a shell's `>` does it."""
        with open(self.file(name), "w") as file:
            file.write(text)

    def swap(self, name, text):
        """As most editors do it."""
        beside = os.path.join(self.path, name + ".new")
        with open(beside, "w") as file:
            file.write(text)
        os.rename(beside, self.file(name))


def do_probe():
    """Start a process that the scripts look for; returns its name."""
    name = unique("probe")
    subprocess.run([helper("act"), "moonwatch-e2e-probe", name, "exit:0"], check=True)
    return name


def told(w, name):
    """What scripts said of this process, once the marker after it has come: who and which version."""
    w.marker()
    return [(e["by"], e["version"]) for e in w.events if e.get("probe") == name]


def probed(w):
    return told(w, do_probe())


def reloaded(w, name, generation):
    text = w.wait(lambda: re.search(rf"moonwatch: reloaded {name} in [0-9.]+ ms \(generation {generation}\)",
                                    "".join(w.errors)), f"generation {generation} of {name}")
    return text


@test("a script that is saved is loaded anew, and the others go on")
def saved():
    place = Place(a=probe("a", 1), b=probe("b", 1))
    with Watch("--json", scripts=[place.path]) as w:
        equal(probed(w), [("a", 1), ("b", 1)], "at first")
        place.write("a", probe("a", 2))
        reloaded(w, "a", 2)
        equal(probed(w), [("a", 2), ("b", 1)], "after it was saved")
        place.swap("b", probe("b", 2))
        reloaded(w, "b", 2)
        place.swap("a", probe("a", 3))
        reloaded(w, "a", 3)
        equal(probed(w), [("a", 3), ("b", 2)], "after both were")
        seen = [e["seen"] for e in w.events if e.get("by") == "b"]
        equal(seen, [1, 2, 1], "events that each version of b counted")
        equal(w.stop(), 0, "status")


@test("a version that does not load is told with file and line, and the one before goes on")
def broken():
    place = Place(a=probe("a", 1))
    path = place.file("a")
    wrong = [("return mw.script {", f"{path}:1: unexpected symbol"),
             ("\n\nlocal x = nil + 1\n", f"{path}:3: attempt to perform arithmetic"),
             ("return 1", f"{path}: it calls no mw.script"),
             ("", f"{path}: it calls no mw.script")]
    with Watch("--json", scripts=[place.path]) as w:
        for number, (text, message) in enumerate(wrong):
            before = len(w.errors)
            place.write("a", text)
            w.wait(lambda: re.search(f"moonwatch: a: {re.escape(message)}[^;]*; "
                                     "the version from before goes on",
                                     "".join(w.errors[before:])), f"the message of {text!r}")
            equal(probed(w), [("a", 1)], f"after {text!r}")
        before = len(w.errors)
        os.utime(path)
        place.write("b", probe("b", 1))
        w.wait_error("b")
        equal([e for e in w.errors[before:] if " a: " in e], [], "told again without a change")
        place.write("a", probe("a", 2))
        reloaded(w, "a", r"\d+")
        equal(probed(w), [("a", 2), ("b", 1)], "after it was mended")


def until(w, wanted):
    """Probe until these scripts, and no others, say so; more than there can be is a failure."""
    end = time.monotonic() + DEADLINE
    while (now := sorted(probed(w))) != wanted:
        names = [name for name, _ in now]
        equal(sorted(set(names)), sorted(names), "scripts that were told of one process")
        check(time.monotonic() < end, f"found {now}, wanted {wanted}")


@test("a version that never ends its loading is stopped, and no event is missed meanwhile")
def endless():
    place = Place(a=probe("a", 1))
    with Watch("--json", scripts=[place.path]) as w:
        equal(probed(w), [("a", 1)], "at first")
        place.write("a", "while true do end")
        stopped = re.compile("moonwatch: a: .*; the version from before goes on", re.S)
        names = []
        end = time.monotonic() + DEADLINE
        while not stopped.search(w.stderr()):
            check(time.monotonic() < end, f"it was not stopped: {w.stderr()}")
            names.append(do_probe())
        names += [do_probe() for _ in range(20)]
        w.marker()
        seen = [(e["probe"], e["version"]) for e in w.events if e.get("probe") in names]
        equal(seen, [(name, 1) for name in names], "execs that were told")


@test("a script that is named as trusted is that, also within a directory that is not")
def trusted():
    text = """
local mw = require "moonwatch"
return mw.script { name = "NAME", on = { exec = function(ev)
  if ev.args and ev.args[2] == "moonwatch-e2e-probe" then
    mw.emit { by = "NAME", version = io and "trusted" or "policy", probe = ev.args[3] }
  end
end } }
"""
    place = Place(a=text.replace("NAME", "a"), b=text.replace("NAME", "b"))
    wanted = [("a", "trusted"), ("b", "policy")]
    with Watch("--json", "--trusted", place.file("a"), scripts=[place.path]) as w:
        until(w, wanted)
        place.write("a", "-- again\n" + text.replace("NAME", "a"))
        reloaded(w, "a", 2)
        until(w, wanted)
        equal(w.stop(), 0, "status")


@test("in one process scripts are reloaded too")
def in_one():
    place = Place(a=probe("a", 1))
    with Watch("--json", "--single", scripts=[place.path]) as w:
        equal(probed(w), [("a", 1)], "at first")
        place.write("a", probe("a", 2))
        reloaded(w, "a", 2)
        place.write("a", "return mw.script {")
        w.wait_error("the version from before goes on")
        place.write("b", probe("b", 1))
        w.wait_error("moonwatch: loaded b in ")
        equal(probed(w), [("a", 2), ("b", 1)], "after both")
        os.unlink(place.file("a"))
        until(w, [("b", 1)])
        equal(w.stop(), 0, "status")


@test("scripts come and go with their files, and one that was renamed is not told twice")
def come_and_go():
    place = Place(a=probe("a", 1))
    with Watch("--json", scripts=[place.path]) as w:
        place.swap("b", probe("b", 1))
        w.wait_error("moonwatch: loaded b in ")
        equal(probed(w), [("a", 1), ("b", 1)], "after one came")
        os.unlink(place.file("a"))
        until(w, [("b", 1)])
        os.rename(place.file("b"), place.file("c"))
        place.write("d", probe("d", 1))
        until(w, [("b", 1), ("d", 1)])
        equal(w.stop(), 0, "status")


@test("a link that is swapped brings the scripts that it leads to now")
def link_swapped():
    one, two = Place(a=probe("a", 1)), Place(a=probe("a", 2))
    link = os.path.join(scratch(), unique("current"))
    os.symlink(one.path, link)
    with Watch("--json", scripts=[link]) as w:
        equal(probed(w), [("a", 1)], "at first")
        subprocess.run(["ln", "-sfn", two.path, link], check=True)
        reloaded(w, "a", 2)
        equal(probed(w), [("a", 2)], "after the swap")


@test("300 scripts that change at once are all loaded anew")
def many():
    names = [f"s{n:03}" for n in range(300)]
    places = [Place(**{name: probe(name, version) for name in names}) for version in (1, 2)]
    link = os.path.join(scratch(), unique("current"))
    os.symlink(places[0].path, link)
    with Watch("--json", scripts=[link]) as w:
        equal(sorted(probed(w)), [(name, 1) for name in names], "at first")
        subprocess.run(["ln", "-sfn", places[1].path, link], check=True)
        w.wait(lambda: len(re.findall(r"reloaded s\d+ in", "".join(w.errors))) >= 300, "all 300")
        equal(sorted(probed(w)), [(name, 2) for name in names], "after the swap")
        for name in names[:-1]:
            os.unlink(places[1].file(name))
        w.wait(lambda: len(re.findall(r"s\d+ is gone", "".join(w.errors))) >= 299, "that they are gone")
        until(w, [(names[-1], 2)])


@test("a module that changes reloads the script that required it")
def module():
    text = """
local mw = require "moonwatch"
local version = require "part"
""" + probe("a", "version").split("\n", 2)[2]
    place = Place(a=text)
    part = os.path.join(place.path, "part.lua")
    os.rename(place.file("a"), place.file("main"))
    place.path = place.file("main")  # the file alone is named: part.lua is no script
    with open(part, "w") as file:
        file.write("return 1")
    with Watch("--json", scripts=[place.path]) as w:
        equal(probed(w), [("a", 1)], "at first")
        with open(part, "w") as file:
            file.write("return 2")
        reloaded(w, "a", 2)
        equal(probed(w), [("a", 2)], "after the module changed")


@test("the state goes from version to version, timers do not")
def state():
    text = """
local mw = require "moonwatch"
mw.every(0.01, function() mw.emit { tick = VERSION } end)
return mw.script { name = "s", state = { execs = 0 },
  reload = function(old) old.execs = old.execs + 1000 return old end,
  on = { exec = function(ev, state)
    if ev.args and ev.args[2] == "moonwatch-e2e-probe" then
      state.execs = state.execs + 1
      mw.emit { by = "s", version = state.execs, probe = ev.args[3] }
    end
  end } }
"""
    place = Place(s=text.replace("VERSION", "1"))
    with Watch("--json", scripts=[place.path]) as w:
        probed(w)
        equal(probed(w), [("s", 2)], "at first")
        w.wait_event(lambda e: e.get("tick") == 1, "a tick")
        place.swap("s", text.replace("VERSION", "2"))
        reloaded(w, "s", 2)
        equal(probed(w), [("s", 1003)], "after the reload")
        w.wait_event(lambda e: e.get("tick") == 2, "a tick of the second")
        at = len(w.events)
        w.wait(lambda: len([e for e in w.events[at:] if e.get("tick") == 2]) > 5, "more ticks")
        equal([e for e in w.events[at:] if e.get("tick") == 1], [], "ticks of the first")


@test("a script that others may write is refused, at the start and later")
def refused():
    place = Place(a=probe("a", 1), b=probe("b", 1))
    os.chmod(place.file("a"), 0o666)
    status, _, err = run("run", place.file("a"))
    equal(status, 3, "status")
    check(f"{place.file('a')} is not taken: others may write to it; mend: chmod go-w "
          f"{place.file('a')}" in err, err)
    os.chmod(place.file("a"), 0o644)
    with Watch("--json", scripts=[place.path]) as w:
        os.chmod(place.file("a"), 0o646)
        w.wait_error("a.lua is not taken: others may write to it")
        place.write("a", probe("a", 2))
        place.write("b", probe("b", 2))
        reloaded(w, "b", 2)
        equal(probed(w), [("a", 1), ("b", 2)], "while it is refused")
        os.chmod(place.file("a"), 0o644)
        reloaded(w, "a", 2)
        equal(probed(w), [("a", 2), ("b", 2)], "after it was mended")


@test("SIGHUP looks at once, where there is no terminal that could have hung up")
def hangup():
    place = Place(a=probe("a", 1))
    with Watch("--json", scripts=[place.path], start_new_session=True) as w:
        place.swap("a", probe("a", 2))
        w.process.send_signal(signal.SIGHUP)
        reloaded(w, "a", 2)
        equal(probed(w), [("a", 2)], "after the signal")
        equal(w.stop(), 0, "status")


@test("what is saved while a version is being loaded is loaded next, and what does not load is told")
def overlapping():
    slow = "for i = 1, 2e7 do end\n"
    place = Place(a=probe("a", 1))
    with Watch("--json", scripts=[place.path], start_new_session=True) as w:
        def save_both(first, second):
            """The second while the first is being loaded, most likely; else this shows less."""
            place.swap("a", slow + first)
            w.process.send_signal(signal.SIGHUP)
            time.sleep(0.005)
            place.swap("a", second)
            w.process.send_signal(signal.SIGHUP)

        def runs_on_without_its_worker(versions):
            running = probed(w)
            check(running in [[("a", v)] for v in versions], f"found {running}, wanted {versions}")
            os.kill(w.worker(), signal.SIGKILL)
            w.wait_error("in no script's call")
            equal(probed(w), running, "after the worker died")

        save_both(probe("a", 2), slow + probe("a", 3))
        until(w, [("a", 3)])
        runs_on_without_its_worker([3])
        save_both(probe("a", 4), "return mw.script {")
        w.wait_error("the version from before goes on")
        runs_on_without_its_worker([4, 3])
        equal(w.stop(), 0, "status")


# --- ten thousand versions -------------------------------------------------------------------

RELOADS = int(os.environ.get("RELOADS", "10000"))
PATIENCE = 300


class Storm:
    """Starts processes without a pause, each with a number of its own, until it is told to end."""

    def __init__(self):
        self.process = subprocess.Popen([helper("numbered"), helper("act"), "moonwatch-e2e-probe"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def end(self):
        """How many it started."""
        self.process.stdin.close()
        text = self.process.stdout.read()
        equal(self.process.wait(DEADLINE), 0, "status of the storm")
        return int(text)


def memory_kib(pid):
    return int(proc_status(pid)["RssAnon"].split()[0])


@test("10,000 versions during a storm: each exec is told once, by the old or the new, and memory is flat")
def ten_thousand():
    signal.alarm(PATIENCE)
    place = Place(a=probe("a", 1))
    with Watch("--json", "--delay", "0", scripts=[place.path], start_new_session=True) as w:
        worker = w.worker()
        storm = Storm()
        began = time.monotonic()
        taken, at, samples = 1, 0, []
        for version in range(2, RELOADS + 2):
            place.swap("a", probe("a", version))
            w.process.send_signal(signal.SIGHUP)
            reloaded_at = w.wait(lambda: generation_after(w, at, version), f"version {version}")
            at = reloaded_at
            if version % max(1, RELOADS // 10) == 0:
                samples.append((memory_kib(w.pid), memory_kib(worker)))
        took = time.monotonic() - began
        started = storm.end()
        w.marker()
        equal(w.worker(), worker, "the worker")
        equal(w.stop(), 0, "status")

        mine = [e for e in w.events if e.get("by") == "a" and e["probe"].isdigit()]
        equal(sorted(int(e["probe"]) for e in mine), list(range(started)), "execs that were told")
        versions = [e["version"] for e in mine]
        equal(versions, sorted(versions), "versions in the order of events")
        numbers = [e["seq"] for e in mine]
        equal(numbers, sorted(set(numbers)), "numbers of the events")
        check(" 0 lost" in w.stderr(), w.stderr()[-2000:])
        note(f"{RELOADS} versions in {took:.1f} s, {len(set(versions))} of them got events; "
             f"{started} execs; KiB of parent and worker: {samples[0]} .. {samples[-1]}")
        for who, before, after in zip(("parent", "worker"), samples[len(samples) // 3], samples[-1]):
            check(after - before < 1024, f"the {who} grew from {before} to {after} KiB: {samples}")


def generation_after(w, at, version):
    """The line after the one that tells of this generation; 0: not yet."""
    wanted = f"(generation {version})"
    for n in range(at, len(w.errors)):
        if wanted in w.errors[n]:
            return n + 1
    return 0


if __name__ == "__main__":
    main()
