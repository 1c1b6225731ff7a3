"""test_persist.py - what scripts keep is there after every kind of end, and is nobody else's."""
import os
import signal
import subprocess

from mwtest import (Skip, Watch, check, equal, helper, main, run, scratch, scratch_file, test,
                    unique)

MARK = str(os.getpid())  # others may run the same tests

# Each exec of ours is counted, in the store and in the output.
COUNT = """
local mw = require "moonwatch"
local p = mw.persist { name = "counts", max = "64k" }
mw.emit { loaded = p:get "n" or 0, durable = p:durable() }
return mw.script { name = "counter", on = { exec = function(ev)
  if ev.args and ev.args[2] == "count-MARK" then
    local n = (p:get "n" or 0) + 1
    local ok, why = p:set("n", n)
    mw.emit { counted = n, ok = ok, why = why }
  end
end } }
""".replace("MARK", MARK)


HANGS = ["--budget", "60s", "--limit", "300ms"]  # an endless call ends with its worker


def state_dir():
    return os.path.join(scratch(), unique("state"))


def count(w, wanted):
    after = len(w.events)
    subprocess.run([helper("act"), "count-" + MARK, "exit:0"], check=True)
    return w.wait_event(lambda e: e.get("counted") == wanted, f"count {wanted}", after=after)


def script():
    return scratch_file("counter.lua", COUNT)


def loaded(w):
    return w.wait_event(lambda e: "loaded" in e, "the script")


def ends(*options):
    state = state_dir()
    path = script()
    wanted = 0
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        with Watch("--json", "--state-dir", state, *options, scripts=[path]) as w:
            equal(loaded(w), {"loaded": wanted, "durable": True}, "at the start")
            for _ in range(3):
                wanted += 1
                equal(count(w, wanted).get("ok"), True, "set")
            w.stop(how)
    stores = os.path.join(state, "stores")
    equal(os.listdir(stores), ["counter.counts.store"], "the files")
    equal(os.stat(state).st_mode & 0o7777, 0o700, "mode of the directory")
    equal(os.stat(os.path.join(stores, "counter.counts.store")).st_mode & 0o7777, 0o600, "of the file")


@test("what a script keeps is there after SIGINT, SIGTERM and SIGKILL of the program")
def program():
    ends()


@test("the same with scripts in this process")
def single():
    ends("--single")


@test("a worker that is killed by a script's endless call is followed by one with the same values")
def worker():
    hangs = """
local mw = require "moonwatch"
return mw.script { name = "hangs", on = { exec = function(ev)
  if ev.args and ev.args[2] == "hang-MARK" then while true do end end
end } }
""".replace("MARK", MARK)
    with Watch("--json", *HANGS, "--state-dir", state_dir(), scripts=[script(), hangs]) as w:
        for n in range(1, 4):
            count(w, n)
        before = w.worker()
        subprocess.run([helper("act"), "hang-" + MARK, "exit:0"], check=True)
        w.wait_event(lambda e: e.get("loaded") == 3, "the next worker", 30)
        check(w.worker() != before, "the same worker")
        equal(count(w, 4).get("ok"), True, "set")
        equal(w.stop(), 0, "status")


@test("a worker that is killed is followed by one that loses none of what was kept")
def killed():
    with Watch("--json", "--state-dir", state_dir(), scripts=[script()]) as w:
        for n in range(1, 4):
            count(w, n)
            before = w.worker()
            os.kill(before, signal.SIGKILL)
            w.wait_event(lambda e, n=n: e.get("loaded") == n, "the next worker", 30)
        equal(w.stop(), 0, "status")


@test("the next version of a script goes on with what the one before kept")
def reload():
    path = scratch_file(unique("reload") + "/counter.lua", COUNT)
    with Watch("--json", "--state-dir", state_dir(), scripts=[path]) as w:
        count(w, 1)
        for n in range(1, 6):
            after = len(w.events)
            with open(path + ".next", "w") as file:
                file.write(COUNT + f"-- version {n}\n")
            os.rename(path + ".next", path)
            equal(w.wait_event(lambda e: "loaded" in e, "the next version", after=after)["loaded"], n,
                  "what it found")
            count(w, n + 1)
        equal(w.stop(), 0, "status")


@test("a script that goes on in a ward takes what it kept along")
def ward():
    hangs = COUNT.replace("if ev.args and", """if ev.args and ev.args[2] == "hang-MARK" then
    while true do end
  end
  if ev.args and""".replace("MARK", MARK))
    path = scratch_file(unique("ward") + "/counter.lua", hangs)
    with Watch("--json", "--ward", *HANGS, "--state-dir", state_dir(), scripts=[path]) as w:
        count(w, 1)
        after = len(w.events)
        subprocess.run([helper("act"), "hang-" + MARK, "exit:0"], check=True)
        equal(w.wait_event(lambda e: "loaded" in e, "the ward", 30, after=after),
              {"loaded": 1, "durable": True}, "what it found")
        count(w, 2)
        after = len(w.events)
        with open(path + ".next", "w") as file:
            file.write(COUNT)
        os.rename(path + ".next", path)
        equal(w.wait_event(lambda e: "loaded" in e, "its next version", 30, after=after),
              {"loaded": 2, "durable": True}, "what it found")
        count(w, 3)
        equal(w.stop(), 0, "status")


@test("a second watch with the same store says so and does not start; with its own directory it does")
def shared():
    state = state_dir()
    path = script()
    with Watch("--json", "--state-dir", state, scripts=[path]) as w:
        count(w, 1)
        status, _, err = run("run", "--for", "5s", "--state-dir", state, path)
        equal(status, 3, "status of the second")
        check("mw.persist 'counts': counter.counts.store: another watch has it open" in err, err)
        status, out, err = run("run", "--json", "--for", "100ms", "--state-dir", state_dir(), path)
        equal(status, 0, f"status of the third: {err}")
        check('"loaded":0' in out.replace(" ", ""), out)
        count(w, 2)
        status, out, err = run("plan", path)  # loads them, and keeps nothing
        equal(status, 0, f"status of the plan: {err}")
        count(w, 3)
        equal(w.stop(), 0, "status")


@test("a torn end is cut and told")
def torn():
    state = state_dir()
    path = script()
    with Watch("--json", "--state-dir", state, scripts=[path]) as w:
        count(w, 1)
        w.stop()
    with open(os.path.join(state, "stores", "counter.counts.store"), "ab") as file:
        file.write(b"half of a record")
    with Watch("--json", "--state-dir", state, scripts=[path]) as w:
        equal(loaded(w)["loaded"], 1, "what was kept")
        check("store 'counts' of script 'counter': its last 16 bytes were no whole record and are cut"
              in w.stderr(), w.stderr())
        w.stop()


@test("where nothing can be kept a script runs on and knows it")
def nowhere():
    path = script()
    with Watch("--json", "--state-dir", "/proc/nowhere", scripts=[path]) as w:
        equal(loaded(w), {"loaded": 0, "durable": False}, "the script")
        w.wait_error("store 'counts' of script 'counter': cannot make /proc/nowhere")
        equal(count(w, 1).get("ok"), True, "set")
        equal(w.stop(), 0, "status")


@test("a full disk is told to the script, the old value stands, and it goes on when there is room")
def full():
    state = state_dir()
    os.mkdir(state, 0o700)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", state],
                             stderr=subprocess.PIPE, text=True)
    if mounted.returncode:
        raise Skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        with Watch("--json", "--state-dir", state, scripts=[script()]) as w:
            count(w, 1)
            ballast = os.path.join(state, "ballast")
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 512)
                except OSError:
                    pass
            counted = 1
            while True:  # the last page of the store's file has room for some
                event = count(w, counted + 1)
                if not event.get("ok"):
                    break
                counted += 1
                check(counted < 500, "the disk is not full")
            check("No space left on device" in event["why"], f"{event}")
            os.unlink(ballast)
            equal(count(w, counted + 1).get("ok"), True, "set")
            w.stop()
        with Watch("--json", "--state-dir", state, scripts=[script()]) as w:
            equal(loaded(w)["loaded"], counted + 1, "what was kept")
            w.stop()
    finally:
        subprocess.run(["umount", state], check=True)


if __name__ == "__main__":
    main()
