"""test_workers.py - workers die and are followed; scripts are off, alone, trusted, and known by their counts."""
import os
import re
import signal
import subprocess
import time

from mwcontrol import Controlled
from mwtest import Watch, check, equal, helper, main, proc_stat, run, scratch, scratch_file, test, unique

SLOW = """
local mw = require "moonwatch"
return mw.script { name = "slow", on = {
  exec = mw.where { cmdline = mw.prefix "%s slow" } (function(ev)
    print("slow saw " .. ev.args[3])
    local until_ = os.clock() + tonumber(ev.args[3])
    while os.clock() < until_ do pcall(error) end
  end),
} }
"""

TELLS = """
local mw = require "moonwatch"
return mw.script { name = "tells", on = {
  exec = mw.where { cmdline = mw.prefix "%s tell" } (function(ev)
    print("told " .. ev.args[3] .. " under " .. tostring(ev.parent and ev.parent.comm))
  end),
} }
"""

# A policy's loop is stopped by its budget; this blocks where nothing can stop it but the limit.
BLOCKS = """
local ffi = require "ffi"
ffi.cdef "unsigned sleep(unsigned seconds);"
local mw = require "moonwatch"
return mw.script { name = "blocks", on = {
  exec = mw.where { cmdline = mw.prefix "%s block" } (function(ev)
    print("blocks saw " .. ev.args[3])
    if ev.args[3] == "now" then ffi.C.sleep(1000) end
  end),
} }
"""


def start(*argv):
    subprocess.run([*argv, "exit:0"], executable=helper("act"), check=True)


@test("what was said before a worker's death is written after it, once, and the tree is known to the next one")
def said_before():
    tag = unique("w")
    with Watch("--text", "--limit", "200ms", trusted=[TELLS % tag, BLOCKS % tag]) as w:
        for n in range(10):
            start(tag, "tell", str(n))
        start(tag, "block", "now")
        for n in range(10, 20):
            start(tag, "tell", str(n))
        w.wait_error("blocks is off until its file changes: a call took longer than 0.2 s")
        w.wait_line(lambda line: b"told 19 " in line, "the last line")
        equal(w.stop(), 0, "status")
        told = [line for line in w.lines if line.startswith(b"told ")]
        equal([int(line.split()[1]) for line in told], list(range(20)), "what was told")
        check(all(line.endswith(b"under python3\n") for line in told), f"parents: {told}")
        equal(sum(b"blocks saw now" in line for line in w.lines), 1, "lines of the one that died")
        check("moonwatch: tells: 20 events, 0 alerts, 0 errors\n" in w.stderr(), w.stderr())
        check("moonwatch: blocks: 1 events, 0 alerts, 0 errors, off\n" in w.stderr(), w.stderr())


@test("with --ward the one that ended its worker goes on alone, and is off when it does so again")
def ward():
    tag = unique("w")
    with Watch("--text", "--ward", "--limit", "200ms", trusted=[BLOCKS % tag, TELLS % tag]) as w:
        start(tag, "block", "now")
        start(tag, "block", "later")  # in the ward
        w.wait_error("blocks runs alone from now on: a call took longer than 0.2 s")
        w.wait_line(lambda line: b"blocks saw later" in line, "a line from the ward")
        equal(len(w.workers()), 3, "workers")
        start(tag, "block", "now")
        w.wait_error("blocks is off until its file changes")
        start(tag, "tell", "1")
        w.wait_line(lambda line: b"told 1 " in line, "a line of the other")
        w.wait(lambda: len(w.workers()) == 2, "the ward to be gone")
        equal(sum(b"blocks saw now" in line for line in w.lines), 2, "events of the one that blocks")
        equal(w.stop(), 0, "status")


@test("a call over its budget is an error that names the line; the script goes on, and the limit is not its neighbours'")
def budget():
    tag = unique("w")
    with Watch("--text", "--budget", "20ms", scripts=[SLOW % tag, TELLS % tag]) as w:
        start(tag, "slow", "0")
        start(tag, "slow", "5")
        start(tag, "slow", "0")
        start(tag, "tell", "1")
        w.wait_line(lambda line: b"told 1 " in line, "the neighbour's line")
        equal(w.stop(), 0, "status")
        equal(sum(b"slow saw" in line for line in w.lines), 3, "events of the slow one")
        check(re.search(r"slow: \S+\.lua:\d+: over its budget of processor time for one call\n\t\d+ \| ", w.stderr()),
              w.stderr())
        check("slow: 3 events, 0 alerts, 1 errors\n" in w.stderr(), w.stderr())


@test("scripts that are loaded without end are refused at the start, as policies and as trusted ones")
def load_without_end():
    endless = scratch_file("endless.lua", "while true do end\n")
    status, _, errors = run("run", "--budget", "5ms", "--limit", "20ms", endless)
    equal(status, 3, "status")
    check("endless.lua:1: over its budget" in errors, errors)
    status, _, errors = run("run", "--limit", "20ms", "--trusted", endless)
    equal(status, 3, "status of a trusted one")
    check("loading it took longer than 0.4 s" in errors, errors)


@test("a script with more errors in a minute than it may have is off, and the others are not")
def errors_a_minute():
    tag = unique("w")
    bad = f"""local mw = require "moonwatch" return mw.script {{ name = "bad", on = {{
      exec = mw.where {{ cmdline = mw.prefix "{tag}" }} (function(ev) error("again " .. ev.args[3]) end) }} }}"""
    with Watch("--text", "--errors", "3", scripts=[bad, TELLS % tag]) as w:
        for n in range(10):
            start(tag, "tell", str(n))
        w.wait_line(lambda line: b"told 9 " in line, "the neighbour's last line")
        w.wait_error("bad is off until its file changes: more than 3 errors within a minute, the last: ")
        equal(w.stop(), 0, "status")
        check("bad: 4 events, 0 alerts, 4 errors, off\n" in w.stderr(), w.stderr())


@test("of a full memory the script that holds the most is off and named; the others keep what they have")
def memory():
    tag = unique("w")
    hoarder = f"""local mw = require "moonwatch" local kept = {{}} return mw.script {{ name = "hoarder", on = {{
      exec = mw.where {{ cmdline = mw.prefix "{tag}" }} (function(ev)
        for i = 1, 400 do kept[#kept + 1] = ("x"):rep(1000) .. #kept end end) }} }}"""
    counter = f"""local mw = require "moonwatch" local n, own = 0, ("y"):rep(1000000) return mw.script {{ name = "counter",
      on = {{ exec = mw.where {{ cmdline = mw.prefix "{tag}" }} (function(ev) n = n + 1 print("counted " .. n, #own) end) }} }}"""
    with Watch("--text", "--memory", "16M", scripts=[hoarder, counter]) as w:
        for n in range(60):
            start(tag, "tell", str(n))
        w.wait_line(lambda line: b"counted 60\t1000000" in line, "the last count")
        w.wait_error("hoarder is off until its file changes: the scripts' memory is full (16 MiB), and of it this one holds")
        equal(len(w.workers()), 1, "workers")
        equal(w.stop(), 0, "status")


@test("a policy and a trusted script run in two processes, and their lines are whole")
def two_processes():
    tag = unique("w")
    chatty = """local mw = require "moonwatch" return mw.script { name = "%s", on = { exec = mw.where { cmdline = mw.prefix "%s" } (
      function(ev) for i = 1, 40 do print("%s " .. ev.args[3] .. " " .. ("%s"):rep(700)) end end) } }"""
    with Watch("--text", scripts=[chatty % ("p", tag, "p", "p")], trusted=[chatty % ("t", tag, "t", "t")]) as w:
        equal(len(w.workers()), 2, "workers")
        for n in range(40):
            start(tag, "tell", str(n))
        w.wait(lambda: sum(b" 39 " in line for line in w.lines) >= 80, "the last lines of both")
        equal(w.stop(), 0, "status")
        lines = [line for line in w.lines if line[:2] in (b"p ", b"t ")]
        for name in b"p", b"t":
            whole = re.compile(name + rb" (\d+) " + name + rb"{700}\n")
            mine = [whole.fullmatch(line) for line in lines if line.startswith(name)]
            check(all(mine), "a line is torn")
            equal([int(m[1]) for m in mine], [n for n in range(40) for _ in range(40)], f"lines of {name}")


@test("a script cannot be written by others: it is refused, with the mend")
def writable():
    path = scratch_file("others.lua", 'return require "moonwatch".script { name = "x" }\n')
    os.chmod(path, 0o666)
    status, _, errors = run("run", "--for", "0.1s", path)
    equal(status, 3, "status")
    check("others.lua" in errors and "chmod go-w" in errors, errors)
    equal(len(errors.splitlines()), 1, "lines")
    os.chmod(path, 0o644)
    equal(run("run", "-q", "--for", "0.1s", path)[0], 0, "status when mended")


@test("a policy's worker is confined: seccomp, no capabilities, no way to new ones; it may not name a file")
def confined():
    with Watch("--text", lines=["=> local x = pid"]) as w:
        status = dict(line.split(":\t", 1) for line in open(f"/proc/{w.worker()}/status").read().splitlines() if ":\t" in line)
        equal((status["Seccomp"], status["NoNewPrivs"]), ("2", "1"), "Seccomp and NoNewPrivs")
        for mask in "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb":
            equal(int(status[mask], 16), 0, mask)
        check("0" not in status["Uid"].split(), status["Uid"])


@test("a worker that does not take its orders or its events costs the others nothing")
def stopped():
    tag = unique("w")
    with Watch("--text", scripts=[TELLS % tag], trusted=[TELLS.replace("told", "trusted told") % tag]) as w:
        trusted = w.workers()[1]
        os.kill(trusted, signal.SIGSTOP)
        for n in range(5):
            start(tag, "tell", str(n))
        w.wait_line(lambda line: line.startswith(b"told 4 "), "the policy's line")
        check(proc_stat(trusted)[1][0] == b"T", "it is not stopped")
        os.kill(trusted, signal.SIGCONT)
        w.wait_line(lambda line: line.startswith(b"trusted told 4 "), "the trusted one's line")
        equal(w.stop(), 0, "status")


@test("the hash of a huge program is refused at once, and nobody waits for anything")
def huge():
    tag = unique("w")
    path = os.path.join(scratch(), unique("huge"))
    with open(helper("act"), "rb") as small, open(path, "wb") as file:
        file.write(small.read())
        file.truncate(20 << 30)  # a hole: it takes no room
    os.chmod(path, 0o755)
    asks = f"""local mw = require "moonwatch" return mw.script {{ name = "asks", on = {{
      exec = mw.where {{ cmdline = mw.prefix "{tag}" }} (function(ev) print("hash", ev:hash()) print("stat", type(ev:stat())) end) }} }}"""
    with Watch("--text", scripts=[asks]) as w:
        with subprocess.Popen([tag, "wait exit:0"], executable=path, stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as process:
            w.wait_line(lambda line: line == b"hash\tnil\tlarger than 512 MiB\n", "the refusal")
            w.wait_line(lambda line: line == b"stat\ttable\n", "the next answer")
            process.stdin.close()
        began = time.monotonic()
        equal(w.stop(), 0, "status")
        check(time.monotonic() - began < 5, "the end was waited for")
    os.unlink(path)


@test("figures of workers that do not answer are not waited for")
def no_answer():
    with Controlled("-q", lines=["exec: pid == 0"]) as w:
        os.kill(w.worker(), signal.SIGSTOP)
        status, out, errors = w.ctl("status")
        equal(status, 0, f"status: {errors}")
        check("policy" in out, out)
        os.kill(w.worker(), signal.SIGCONT)


@test("a script in a ward is disabled like any other, and stays so when its file changes")
def disabled_in_ward():
    tag = unique("w")
    path = scratch_file(unique("blocks") + ".lua", BLOCKS % tag)
    with Controlled("--text", "--ward", "--limit", "200ms", trusted=[path]) as w:
        start(tag, "block", "now")
        w.wait_error("blocks runs alone from now on")
        w.wait(lambda: len(w.workers()) == 3, "the ward")
        equal(w.ctl("disable", "blocks")[0], 0, "disable")
        w.wait(lambda: len(w.workers()) == 2, "the end of the ward")
        start(tag, "block", "later")
        with open(path, "a") as file:
            file.write("-- changed\n")
        w.wait_error("blocks has changed, and is off until it is enabled")
        w.marker()
        check(not any(b"saw later" in line for line in w.lines), "it still runs")
        equal(w.ctl("enable", "blocks")[0], 0, "enable")
        w.wait_error("reloaded blocks")
        start(tag, "block", "again")
        w.wait_line(lambda line: b"blocks saw again" in line, "a line of the new version")


@test("a version that is saved while the old one hangs takes its place when that is ended")
def saved_while_hanging():
    tag = unique("w")
    path = scratch_file(unique("blocks") + ".lua", BLOCKS % tag)
    with Watch("--text", "--limit", "700ms", trusted=[path]) as w:
        start(tag, "block", "now")
        with open(path + ".new", "w") as file:
            file.write((BLOCKS % tag).replace("blocks saw", "mended saw").replace("ffi.C.sleep(1000)", ""))
        os.rename(path + ".new", path)
        w.wait_error("blocks: a call took longer than 0.7 s; its next version follows")
        w.wait_error("blocks in ")
        start(tag, "block", "now")
        w.wait_line(lambda line: b"mended saw now" in line, "a line of the next version")
        equal(w.stop(), 0, "status")


@test("a worker whose child holds its sockets is dead all the same")
def child_holds():
    tag = unique("w")
    forks = f"""local ffi = require "ffi" ffi.cdef [[int fork(void); void _exit(int); unsigned sleep(unsigned);]]
      local mw = require "moonwatch" return mw.script {{ name = "forks", on = {{
      exec = mw.where {{ cmdline = mw.prefix "{tag} block" }} (function(ev)
        if ffi.C.fork() == 0 then ffi.C.sleep(8) ffi.C._exit(0) end
        ffi.C._exit(7) end) }} }}"""
    with Watch("--text", trusted=[TELLS % tag, forks]) as w:
        start(tag, "block", "now")
        w.wait_error("forks is off until its file changes: its worker ended with status 7", seconds=5)
        start(tag, "tell", "1")
        w.wait_line(lambda line: b"told 1 " in line, "the neighbour's line")


@test("a shadow that errs is off, and the version that counts goes on; one whose worker dies is gone, and told")
def shadow_dies():
    tag = unique("w")
    path = scratch_file(unique("tells") + ".lua", TELLS % tag)
    bad = scratch_file(os.path.join(unique("next"), os.path.basename(path)),
                       (TELLS % tag).replace('print("told', 'error("told'))
    with Controlled("--text", "--errors", "2", scripts=[path]) as w:
        status, out, errors = run("reload", "--control", w.socket, "--shadow", "100ms", bad)
        equal(status, 0, f"shadow: {out}{errors}")
        for n in range(5):
            start(tag, "tell", str(n))
        w.wait_error("the shadow of tells is off: more than 2 errors")
        w.wait_line(lambda line: b"told 4 " in line, "the live version's last line")
        equal(w.script("tells")["errors"], 0, "errors of the version that counts")
        os.kill(w.worker(), signal.SIGKILL)
        w.wait_error("the shadow of tells is gone with its worker")
        start(tag, "tell", "5")
        w.wait_line(lambda line: b"told 5 " in line, "a line after it")


@test("a script that is new does not begin with the counts of one that has gone")
def new_counts():
    tag = unique("w")
    place = os.path.join(scratch(), unique("place"))
    os.mkdir(place)
    first, second = os.path.join(place, "a.lua"), os.path.join(place, "b.lua")
    with open(first, "w") as file:
        file.write(TELLS % tag)
    with Controlled("--text", scripts=[place]) as w:
        start(tag, "tell", "1")
        w.wait_line(lambda line: b"told 1 " in line, "the first line")
        os.unlink(first)
        w.wait_error("tells is gone")
        w.marker()
        with open(second, "w") as file:
            file.write((TELLS % tag).replace("tells", "other"))
        w.wait_error("loaded other")
        check(w.script("other")["calls"] <= 1, "more calls than its own loading")


@test("of a directory the scripts that are wrong at the start are left out and told; one that is named is not")
def wrong_in_directory():
    tag = unique("w")
    place = os.path.join(scratch(), unique("place"))
    os.mkdir(place)
    for name, text in ("a.lua", TELLS % tag), ("b.lua", "local x = = 1\n"):
        with open(os.path.join(place, name), "w") as file:
            file.write(text)
    equal(run("run", "--for", "0.1s", os.path.join(place, "b.lua"))[0], 3, "status when it is named")
    with Watch("--text", scripts=[place]) as w:
        w.wait_error("b.lua:1: unexpected symbol near '='")
        start(tag, "tell", "1")
        w.wait_line(lambda line: b"told 1 " in line, "the other's line")
        with open(os.path.join(place, "b.lua"), "w") as file:
            file.write((TELLS % tag).replace("tells", "mended").replace("told", "too"))
        w.wait_error("loaded mended")
        start(tag, "tell", "2")
        w.wait_line(lambda line: b"too 2 " in line, "the mended one's line")


if __name__ == "__main__":
    main()
