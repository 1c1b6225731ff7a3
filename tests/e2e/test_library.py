"""test_library.py - the library of the scripts on the real kernel: what is counted, found, followed and
read there is what happened."""
import os
import re
import socket
import subprocess
import sys

from mwtest import Act, Watch, check, equal, helper, main, scratch, scratch_file, test, unique

HEAD = "local mw = require 'moonwatch'\n"


def act(*words, name="act"):
    """A process of ours with these arguments, which ends at once."""
    subprocess.run([name, *words, "exit:0"], executable=helper("act"), check=True)


def script(text):
    """In a directory of its own, which only we can change."""
    return scratch_file(os.path.join(unique("library"), "script.lua"), HEAD + text)


def no_errors(w):
    check(w.stop() == 0, "it did not end with status 0")
    found = re.findall(r"(\d+) errors?", w.stderr())
    check(found and not any(int(n) for n in found), w.stderr())


@test("a sequence is found in what one process starts, and not across processes or in another order")
def sequence():
    tag = unique("seq")
    text = f"""
local s = mw.sequence {{
  by = function(ev) return ev.ppid end,
  within = "1m",
  steps = {{
    function(ev) return ev.args[2] == "{tag}" and ev.args[3] == "one" end,
    function(ev) return ev.args[2] == "{tag}" and ev.args[3] == "two" end,
    function(ev) return ev.args[2] == "{tag}" and ev.args[3] == "three" end,
  }},
  matched = function(events, key)
    mw.emit {{ by = key, names = {{ events[1].args[1], events[2].args[1], events[3].args[1] }} }}
  end,
}}
return mw.script {{ name = "seq", on = {{ exec = function(ev)
  if ev.args and ev.args[3] then s:feed(ev) end
end }} }}
"""
    with Watch("--json", scripts=[script(text)]) as w:
        act(tag, "two", name="early")
        act(tag, "one", name="a")
        subprocess.run(["sh", "-c", f'{helper("act")} {tag} two exit:0; :'], check=True)  # of another parent
        act(tag, "three", name="early")
        act(tag, "one", name="b")
        act(tag, "two", name="c")
        act(tag, "other", name="between")
        act(tag, "three", name="d")
        act(tag, "three", name="e")
        w.marker()
        found = [e for e in w.events if "names" in e]
        equal(found, [{"by": os.getpid(), "names": ["b", "c", "d"]}], "sequences")
        no_errors(w)


@test("a window counts what happened in it and tells different values apart; dedup and throttle say what they held")
def counting():
    tag = unique("count")
    text = f"""
local w = mw.window {{ span = "1m" }}
local d = mw.dedup {{ span = "1h", summary = function(key, held) mw.emit {{ key = key, held = held }} end }}
local t = mw.throttle {{ per = "1h", limit = 3 }}
return mw.script {{ name = "count", on = {{ exec = function(ev)
  if not ev.args or ev.args[2] ~= "{tag}" then return end
  local n = w:add(ev.ppid, ev.args[3])
  mw.emit {{ n = n, distinct = w:distinct(ev.ppid), dedup = {{ d:pass(ev.args[2]) }}, throttle = {{ t:pass(1) }} }}
end }} }}
"""
    with Watch("--json", scripts=[script(text)]) as w:
        for value in "abacb":
            act(tag, value)
        w.wait_event(lambda e: e.get("n") == 5, "the fifth")
        rows = [e for e in w.events if "n" in e]
        equal([e["distinct"] for e in rows], [1, 2, 2, 3, 3], "distinct")
        equal([e["dedup"] for e in rows], [[True, 0], [False, 1], [False, 2], [False, 3], [False, 4]], "dedup")
        equal([e["throttle"] for e in rows], [[True, 0]] * 3 + [[False, 1], [False, 2]], "throttle")
        no_errors(w)
        equal([e for e in w.events if "held" in e], [{"key": tag, "held": 4}], "what the summary told at the end")


@test("a label is with all that was forked after it was set, through ends and execs, and with nobody else")
def labels():
    tag = unique("label")
    text = f"""
return mw.script {{ name = "label", on = {{ exec = function(ev)
  local name = ev.args and ev.args[1]:match "^(%a+){tag.replace("-", "%-")}$"
  if not name then return end
  if name == "marked" then mw.label(ev, "mine") end
  mw.emit {{ of = name, label = mw.labelled(ev, "mine"), set = mw.labels(ev) }}
end }} }}
"""
    with Watch("--json", scripts=[script(text)]) as w:
        steps = ("child exec:early{t} wait exit:0 | wait exec:marked{t} child orphan orphan exec:deep{t} exit:0 | "
                 "wait exec:late{t} exit:0")
        with Act(steps.format(t=tag), name="first" + tag) as tree:
            w.wait_event(lambda e: e.get("of") == "early", "the child from before")
            tree.go()
            tree.go()
            w.wait_event(lambda e: e.get("of") == "deep", "the deepest")
            tree.go()
            w.wait_event(lambda e: e.get("of") == "late", "the one after it")
        act(name="stranger" + tag)
        w.wait_event(lambda e: e.get("of") == "stranger", "the stranger")
        found = {e["of"]: e["label"] for e in w.events if "label" in e}
        equal(found, {"first": False, "early": False, "marked": True, "deep": True, "late": True,
                      "stranger": False}, "who has the label")
        equal([e["set"] for e in w.events if e.get("of") == "deep"], [{"mine": True}], "the set")
        no_errors(w)


BUSY = """
import os, socket, sys
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
print(s.getsockname()[1], flush=True)
if os.fork() == 0:
    while os.getppid() != 1 and not os.path.exists(sys.argv[1]): pass
    os._exit(0)
sys.stdin.read()
os.wait()
"""


@test("a watch sees the processor time of a suspect's child, its socket once as new, and the end of both")
def watch():
    name = unique("suspect")[:15]
    stop = os.path.join(scratch(), unique("stop"))
    text = f"""
return mw.script {{ name = "watch", on = {{ exec = function(ev)
  if ev.args and ev.args[1] == "{name}" then
    ev:watch {{
      every = 0.2, for_ = "5m",
      sample = function(p, f)
        local ports = {{}}
        for i, s in ipairs(f.new_sockets) do ports[i] = s.local_port end
        mw.emit {{ sample = p.pid, cpu = f.cpu, rss = f.rss, processes = f.processes, threads = f.threads, ports = ports,
          sockets = #f.sockets, left = f.left_out }}
      end,
      done = function(p, why) mw.emit {{ ended = p.pid, why = why }} end,
    }}
  end
end }} }}
"""
    with Watch("--json", scripts=[script(text)]) as w:
        suspect = subprocess.Popen([name, "-c", BUSY, stop], executable=sys.executable, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        try:
            port = int(suspect.stdout.readline())
            busy = w.wait_event(lambda e: e.get("processes") == 2 and e["cpu"] > 0.05, "a busy sample")
            equal(busy["sample"], suspect.pid, "of whom")
            check(busy["cpu"] < os.cpu_count() + 0.5, f"more than there is: {busy}")
            check(busy["rss"] > 1 << 20 and busy["threads"] == 2 and busy["left"] == 0, str(busy))
            seen = len(w.events)
            w.wait_event(lambda e: "sample" in e, "another sample", after=seen)
            told = [p for e in w.events if "sample" in e for p in e["ports"]]
            equal(told.count(port), 1, "how often the port was new")
        finally:
            with open(stop, "w"):
                pass
            suspect.communicate()
        end = w.wait_event(lambda e: "ended" in e, "the end")
        equal(end, {"ended": suspect.pid, "why": "gone"}, "the end")
        no_errors(w)


@test("a list is read again when its file is replaced, keeps its values while it is gone, and has networks")
def live_list():
    tag = unique("list")
    path = script(f"""
local bad = mw.list {{ file = "bad.txt", every = 0.1, changed = function(l) mw.emit {{ changed = l.count }} end }}
return mw.script {{ name = "list", on = {{ exec = function(ev)
  if ev.args and ev.args[2] == "{tag}" then
    mw.emit {{ asked = ev.args[1], has = bad:has(ev.args[1]), ip = bad:contains_ip(ev.args[3]), problem = bad.problem }}
  end
end }} }}
""")
    file = os.path.join(os.path.dirname(path), "bad.txt")

    def write(text):
        with open(file + ".new", "w") as f:
            f.write(text)
        os.rename(file + ".new", file)

    def ask(w, name, ip="10.1.2.3"):
        after = len(w.events)
        act(tag, ip, name=name)
        e = w.wait_event(lambda e: e.get("asked") == name, name, after=after)
        return e["has"], e["ip"]

    write("# names\nfirst\n10.0.0.0/8\n")
    with Watch("--json", scripts=[path]) as w:
        equal(ask(w, "first"), (True, True), "at the start")
        equal(ask(w, "second", "11.0.0.1"), (False, False), "at the start")
        write("second\n11.0.0.0/8\n12.0.0.0/8")
        w.wait_event(lambda e: e.get("changed") == 3, "the change")
        equal(ask(w, "first"), (False, False), "after the change")
        equal(ask(w, "second", "11.0.0.1"), (True, True), "after the change")
        os.unlink(file)
        w.wait_error("list 'bad.txt' stays as it was: no such file")
        equal(ask(w, "second"), (True, False), "without a file")
        write("third")
        w.wait_event(lambda e: e.get("changed") == 1, "the file that is back")
        equal(ask(w, "third"), (True, False), "with the file that is back")
        no_errors(w)


@test("a list that others may change is not taken, nor one outside of the script's directory")
def foreign_list():
    for name, make in (("bad.txt", lambda path: os.chmod(path, 0o666)), ("../bad.txt", lambda path: None)):
        path = script(f"""
local l = mw.list {{ file = "{name}", optional = true }}
mw.emit {{ count = l.count, problem = l.problem }}
return mw.script {{ name = "list", on = {{}} }}
""")
        file = os.path.join(os.path.dirname(path), name)
        with open(file, "w") as f:
            f.write("x\n")
        make(file)
        with Watch("--json", scripts=[path]) as w:
            found = w.wait_event(lambda e: "count" in e, "the script")
            check(found["count"] == 0 and found["problem"].startswith("not taken"), str(found))
            w.stop()


@test("patterns work in a handler, and one that would take years costs neither an event nor the watch")
def patterns():
    tag = unique("match")
    text = f"""
local glob = mw.match.glob("*/x[0-9]*.SH", {{ cased = false }})
local evil = mw.match.regex "^(a+)+[bc]$"
local inside = mw.match.cidr {{ "127.0.0.0/8", "::1" }}
return mw.script {{ name = "match", on = {{ exec = function(ev)
  if not ev.args or ev.args[2] ~= "{tag}" then return end
  local fits, why = evil(ev.args[3])
  local here = {{}}
  for i, s in ipairs(ev:sockets() or {{}}) do here[i] = inside(s.local_ip) end
  mw.emit {{ n = tonumber(ev.args[4]), glob = glob(ev.args[5]), evil = tostring(fits), why = why, here = here }}
end }} }}
"""
    with Watch("--json", scripts=[script(text)]) as w, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        for n in range(20):
            act(tag, "a" * 5000 if n % 2 else "aab", str(n), "/tmp/X1y.sh" if n % 4 == 0 else "/tmp/y1.sh")
        with Act("wait", args=[tag, "ab", "20", "/x1.sh"], pass_fds=[listener.fileno()]):
            w.wait_event(lambda e: e.get("n") == 20, "the one with a socket")
        rows = [e for e in w.events if "n" in e]
        equal([e["n"] for e in rows], list(range(21)), "events")
        for e in rows[:20]:
            equal((e["evil"], e.get("why")), ("nil", "limit") if e["n"] % 2 else ("true", None), str(e["n"]))
            equal(e["glob"], e["n"] % 4 == 0, str(e["n"]))
        equal(rows[20]["here"], [True], "its socket")
        no_errors(w)


@test("a baseline learns, tells what is new once, and knows it after a restart")
def baseline():
    tag, state = unique("base"), os.path.join(scratch(), unique("state"))
    path = script(f"""
local b = mw.baseline {{ name = "programs", learn = 0.5 }}
return mw.script {{ name = "base", on = {{ exec = function(ev)
  if ev.args and ev.args[2] == "{tag}" then
    mw.emit {{ asked = ev.args[1], new = b:new(ev.args[1]), learning = b:learning() }}
  end
end }} }}
""")

    def ask(w, name):
        after = len(w.events)
        act(tag, name=name)
        return w.wait_event(lambda e: e.get("asked") == name, name, after=after)

    with Watch("--json", "--state-dir", state, scripts=[path]) as w:
        equal(ask(w, "known")["new"], False, "the first one, while learning")
        while ask(w, "known")["learning"]:
            pass
        equal([ask(w, n)["new"] for n in ("known", "fresh", "fresh")], [False, True, False], "after it")
        no_errors(w)
    with Watch("--json", "--state-dir", state, scripts=[path]) as w:
        equal([ask(w, n)["new"] for n in ("known", "fresh", "other")], [False, False, True], "after a restart")
        no_errors(w)


main()
