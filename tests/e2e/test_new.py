"""test_new.py - `moonwatch new` writes scripts that work, and `moonwatch test` runs scripts with made-up events."""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
import xml.etree.ElementTree

from mwtest import DEADLINE, MOONWATCH, Watch, check, equal, main, proc_read, run, scratch, scratch_file, test, unique

KINDS = ["exec", "fork", "exit", "uid", "gid", "sid", "ptrace", "comm", "coredump"]
BEFORE = 'local mw = require "moonwatch"\n'


def folder(name):
    path = os.path.join(scratch(), name)
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    return path


def pair(script, tests, name="pair"):
    """The path of a script with its test beside it."""
    scratch_file(f"{name}_test.lua", tests)
    return scratch_file(f"{name}.lua", BEFORE + script)


def lines(out):
    return [line for line in out.splitlines() if not line.startswith("#")]


# --- new -----------------------------------------------------------------------------------------


@test("new: for each event a script that lints clean, passes its test and runs")
def new_scripts():
    where = folder("new")
    for kind in KINDS:
        status, out, errors = run("new", "--event", kind, f"my-{kind}", cwd=where)
        equal((status, out, errors), (0, f"my-{kind}.lua\nmy-{kind}_test.lua\n", ""), kind)
        with open(os.path.join(where, f"my-{kind}.lua")) as f:
            check(max(map(len, f)) <= 121, "its lines are short")
    equal(run("lint", where), (0, "", ""), "lint")
    status, out, errors = run("test", where)
    equal((status, errors), (0, ""), out)
    equal(lines(out)[-1], f"1..{3 * len(KINDS)}", "each has three tests")
    for kind in KINDS:  # each test can fail
        path = os.path.join(where, f"my-{kind}_test.lua")
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace("alerts = 0", "alerts = 1"))
        status, out, _ = run("test", path)
        equal((status, out.count("\nnot ok 2")), (1, 1), out)
    status, out, _ = run("plan", where)
    equal(status, 0, "they load, and their tests are no scripts")
    check("_test" not in out and out.count("script  ") == len(KINDS), out)


@test("new: what is there is never written over, and a name is a name")
def new_careful():
    where = folder("careful")
    for there in ("a.lua", "b_test.lua"):
        with open(os.path.join(where, there), "w") as f:
            f.write("mine")
    os.symlink("/nonexistent/x", os.path.join(where, "c.lua"))
    for name in ("a", "a.lua", "b", "c"):
        status, out, errors = run("new", name, cwd=where)
        equal((status, out), (1, ""), name)
        check("is there already" in errors, errors)
    equal(sorted(os.listdir(where)), ["a.lua", "b_test.lua", "c.lua"], "nothing is new")
    with open(os.path.join(where, "a.lua")) as f:
        equal(f.read(), "mine", "a.lua")
    for words in (["new"], ["new", "a", "b"], ["new", "x y"], ["new", "-x"], ["new", ""], ["new", "x_test"],
                  ["new", "--event", "any", "x"], ["new", 'x"']):
        equal(run(*words, cwd=where)[0], 2, f"status of {words}")
    status, _, errors = run("new", "none/x", cwd=where)
    equal(status, 1, errors)
    os.mkdir(os.path.join(where, "sub"))
    equal(run("new", "sub/x", cwd=where)[:2], (0, "sub/x.lua\nsub/x_test.lua\n"), "in a directory")


# --- test ------------------------------------------------------------------------------------------

ECHO = """
return mw.script { name = "echo", on = { any = function(ev)
  print(ev.type, ev.pid, ev.ppid, ev.comm, ev.cmdline, ev.exe, ev.uid, ev.parent and ev.parent.comm, mw.now())
  if ev.comm == "bad" then mw.alert { event = ev } end
  if ev.comm == "broken" then error "broken" end
end } }
"""


def results(script, tests, *flags):
    status, out, errors = run("test", *flags, pair(script, tests))
    return status, out, errors


@test("test: events get what they leave out; a parent was running before, the same table is the same process")
def made_up_events():
    status, out, errors = results(ECHO, """
local init = { comm = "init", pid = 1 }
local shell = { comm = "sh", parent = init, uid = 0 }
return { { name = "all", alerts = 1, output = {
    "snapshot\\t1\\t1\\tinit\\tinit\\t/usr/bin/init\\t1000\\tnil\\t1700000001",
    "snapshot\\t1000\\t1\\tsh\\tsh\\t/usr/bin/sh\\t0\\tinit\\t1700000001",
    "exec\\t1001\\t1000\\tls\\tls -l\\t/usr/bin/ls\\t1000\\tsh\\t1700000001",
    "exit\\t1000\\t1\\tsh\\tsh\\t/usr/bin/sh\\t0\\tinit\\t1700000002",
    "exec\\t77\\t1\\tbad\\tbad\\t/tmp/bad\\t1000\\tinit\\t1700000300",
    "lost\\tnil\\tnil\\tnil\\tnil\\tnil\\tnil\\tnil\\t1700000301" },
  events = {
    { args = { "ls", "-l" }, parent = shell },
    { type = "exit", comm = "sh", pid = 1000, parent = init, uid = 0 },
    { exe = "/tmp/bad", pid = 77, at = "5m" },
    { type = "lost", lost = 3 },
  } } }""", "-v")
    equal((status, errors), (0, ""), out)
    equal(lines(out), ["ok 1 - pair.lua: all", "1..1"], out)
    equal(out.count("snapshot"), 2, "each parent is told of once: " + out)


@test("test: alerts, output and errors are compared, and what the script wrote is shown when it is not so")
def judged():
    status, out, errors = results(ECHO, """
return {
  { name = "alerts", events = { { comm = "bad" } }, alerts = 0 },
  { name = "output", events = { { comm = "good" } }, output = "nothing like it" },
  { name = "errors", events = { { comm = "broken" } }, alerts = 0 },
  { name = "expected", events = { { comm = "broken" }, { comm = "bad" } }, alerts = 1, errors = 1 },
  { name = "fresh each time", events = { { comm = "bad" } }, alerts = 1 },
}""")
    equal(status, 1, out)
    equal([l[:8] for l in lines(out)], ["not ok 1", "not ok 2", "not ok 3", "ok 4 - p", "ok 5 - p", "1..5"], out)
    for text in ("#   0 alerts wanted, 1 told", "#   it does not write 'nothing like it'", "#   0 errors wanted, 1 thrown",
                 "pair.lua:6: broken", "# it wrote", "good"):
        check(text in out, f"{text!r} in {out}")
    check(re.search(r"#    6 \|   if ev.comm == \"broken\"", out), "the line of the error: " + out)


@test("test: a list of alerts is compared by what it names, and the difference is shown by lines")
def alerts_by_parts():
    status, out, errors = results("""
return mw.script { name = "web", tags = { "attack.t1059" }, on = { exec = function(ev)
  mw.alert { severity = ev.uid == 0 and "high" or "low", key = ev.parent.comm, text = ev.cmdline, event = ev }
end } }""", """
local mw = require "moonwatch"
local nginx = { comm = "nginx" }
local events = { { comm = "sh", args = { "sh", "-c", "id\\n\\27[2J" }, uid = 0, parent = nginx }, { comm = "ls", parent = nginx } }
return {
  { name = "as told", events = events, alerts = {
    { severity = "low", event = { comm = "ls" } },
    { severity = "high", key = "nginx", text = mw.match.contains "-c id", tags = { "attack.t1059" },
      event = { uid = 0, args = { "sh", "-c", mw.match.regex "^id" }, parent = { exe = mw.match.endswith "/nginx" } } },
  } },
  { name = "not as told", events = events, alerts = { { severity = "low", key = "apache2", event = { comm = "ls" } } } },
}""")
    equal((status, errors), (1, ""), out)
    tags = 'tags = { "attack.t1059" }'
    equal([l for l in out.splitlines() if "ALERT" not in l],
          ["ok 1 - pair.lua: as told", "not ok 2 - pair.lua: not as told",
           "#   1 alerts wanted, 2 told, 0 of them as wanted; wanted -, told +",
           '#     - { severity = "low", key = "apache2", event = { comm = "ls" } }',
           f'#     + {{ severity = "low", text = "ls", key = "nginx", {tags}, event = {{ comm = "ls", pid = 1002 }} }}',
           f'#     + {{ severity = "high", text = "sh -c id\\x0a\\x1b[2J", key = "nginx", {tags}, '
           'event = { comm = "sh", pid = 1001, type = "exec" } }', "# it wrote", "1..2"], out)


@test("test: one that hangs is ended when its time is over, and the next one is run")
def hangs():
    status, out, errors = results(ECHO.replace("error \"broken\"", "while true do pcall(error) end"), """
return { { name = "hangs", events = { { comm = "broken" } }, alerts = 0 }, { name = "next", events = { {} }, alerts = 0 } }""", "--timeout", "300ms")
    equal(status, 1, out)
    equal(lines(out), ["not ok 1 - pair.lua: hangs", "ok 2 - pair.lua: next", "1..2"], out)
    check(re.search(r"^#   \S*pair.lua:6: it was ended: it takes more than 0.3 s$", out, re.M), out)


@test("test: a wrong time, and how many alerts may be without a baseline, are wrong command lines")
def wrong_words():
    for words, said in ((("--timeout", "soon"), "--timeout takes a span such as 10s or 5m, not 'soon'"),
                        (("--timeout", "0"), "--timeout takes a span such as 10s or 5m, not '0'"),
                        (("--allow", "3"), "--allow belongs to --baseline"),
                        (("--allow", "x", "--baseline", "y"), "--allow takes how many alerts there may be, not 'x'")):
        status, out, errors = results(ECHO, "return {}", *words)
        equal((status, out), (2, ""), words)
        check(said in errors, errors)


@test("test: options of a test are what mw.option gives")
def options():
    status, out, errors = results('mw.at_exit(print) print(mw.option("max", 3) + 1, mw.option("on", true), mw.option("name", "x"))', """
return {
  { name = "set", options = { max = 7.5, on = false, name = "a b" }, events = {}, output = "8.5\\tfalse\\ta b" },
  { name = "not set", events = {}, output = "4\\ttrue\\tx" },
}""")
    equal(status, 0, out + errors)


@test("test: what a test says wrong is said, and costs only that test")
def wrong_tests():
    status, out, _ = results(ECHO, """
return {
  1,
  { events = {}, alerts = 0 },
  { name = "no events", alerts = 0 },
  { name = "nothing", events = {} },
  { name = "field", events = { { cmdlin = "x" } }, alerts = 0 },
  { name = "event", events = { { type = "exce" } }, alerts = 0 },
  { name = "text", events = { "exec" }, alerts = 0 },
  { name = "at", events = { { at = "soon" } }, alerts = 0 },
  { name = "right", events = {}, alerts = 0 },
}""")
    equal(status, 1, out)
    equal([l[:6] for l in lines(out)], ["not ok"] * 8 + ["ok 9 -", "1..9"], out)
    for text in ("this is a number", "a `name`, a string", "has `events`", "it checks nothing", "no field 'cmdlin'",
                 "no event 'exce'", "holds a string", "soon"):
        check(text in out, f"{text!r} in {out}")


@test("test: a key that nobody knows and a value of another type are no test that passes")
def misspelled_tests():
    wrong = (("alert = 1", "a test has no 'alert': did you mean alerts?"), ("alerts = 'one'", "`alerts` is a whole number"),
             ("alerts = -1", "`alerts` is a whole number"), ("errors = true", "`errors` is a whole number"),
             ("errors = 0.5", "`errors` is a whole number"), ("output = 7", "`output` is a text or a list of texts, not 7"),
             ("output = { 'a', 7 }", "`output` is a text"), ("output = { text = 'a' }", "`output` is a text"),
             ("alerts = 0, options = 'x'", "`options` is a table"))
    events = (("{ type = 'exec' }", "`events`, a list"), ("{ { pid = 'nine' } }", "`pid` is a whole number, not 'nine'"),
              ("{ { parent = 1 } }", "`parent` is a table"), ("{ { parent = { pid = {} } } }", "not a table"),
              ("{ { type = 'exce' } }", "did you mean exec?"), ("{ { cmdlin = 'x' } }", "did you mean cmdline?"))
    cases = [(f"{{ name = 'x', events = {{}}, {keys} }}", text) for keys, text in wrong]
    cases += [(f"{{ name = 'x', events = {list_}, alerts = 0 }}", text) for list_, text in events]
    status, out, errors = results(ECHO, "return { " + ",\n".join(case for case, _ in cases) + "}")
    equal((status, errors), (1, ""), out)
    told = re.findall(r"^not ok \d+ .*\n#   (.*)$", out, re.M)
    equal(len(told), len(cases), out)
    for (case, text), line in zip(cases, told):
        check(text in line, f"{case}: {text!r} in {line!r}")


@test("test: a test without its script has failed, and the others of the directory are run")
def orphan():
    where = folder("orphans")
    for name in ("a", "c"):
        scratch_file(f"orphans/{name}.lua", BEFORE + ECHO)
        scratch_file(f"orphans/{name}_test.lua", "return { { name = 'one', events = {}, alerts = 0 } }")
    scratch_file("orphans/b_test.lua", "return { { name = 'one', events = {}, alerts = 0 } }")
    status, out, errors = run("test", where)
    equal((status, errors), (1, ""), out)
    equal([l for l in lines(out)], ["ok 1 - a.lua: one", "not ok 2 - b_test.lua: the script that it tests",
                                    "ok 3 - c.lua: one", "1..3"], out)
    check("b.lua: No such file or directory" in out, out)


@test("test: a script or a test that is wrong is one that failed, and the others are run, also those of other paths")
def wrong_in_between():
    where = folder("wrong")
    good = "return { { name = 'one', events = {}, alerts = 0 } }"
    for name, script, tests in (("a", ECHO, good), ("b", "x = = 1", good), ("c", ECHO, "return = 1"), ("d", "error 'late'", good),
                                ("e", ECHO, good)):
        scratch_file(f"wrong/{name}.lua", BEFORE + script)
        scratch_file(f"wrong/{name}_test.lua", tests)
    os.chmod(scratch_file("wrong/dir_test.lua", good), 0)
    os.mkdir(os.path.join(where, "f_test.lua"))
    status, out, errors = run("test", where, "/no/such.lua", os.path.join(where, "e.lua"))
    equal((status, errors), (3, ""), out)
    equal(lines(out), ["ok 1 - a.lua: one", "not ok 2 - b.lua: it can be loaded", "not ok 3 - c.lua: it can be loaded",
                       "not ok 4 - d.lua: it can be loaded", "not ok 5 - dir_test.lua: the script that it tests", "ok 6 - e.lua: one",
                       "not ok 7 - f_test.lua: the script that it tests", "not ok 8 - such.lua: it can be loaded",
                       "ok 9 - e.lua: one", "1..9"], out)
    for text in ("b.lua:2: unexpected symbol near '='", "#    2 | x = = 1", "c_test.lua:1: ", "d.lua:2: late", "/no/such.lua: No such"):
        check(text in out, f"{text!r} in {out}")


@test("test: names and texts of tests cannot end a line, steer a terminal or pass for what TAP says itself")
def hostile_names():
    where = folder("names\x1b[2J\n1..9 # TODO")
    with open(os.path.join(where, "a # SKIP x.lua"), "w") as f:
        f.write(BEFORE + ECHO)
    with open(os.path.join(where, "a # SKIP x_test.lua"), "w") as f:
        f.write("""return { { name = "one # TODO \\27[2J\\nok 9 \\r\\200\\xff", events = { { comm = "a\\nok 5" } }, alerts = 1 } }""")
    with open(os.path.join(where, "b_test.lua"), "w") as f:
        f.write("")
    with open(os.path.join(where, "c.lua"), "w") as f:
        f.write("\x1b[2J = = ")
    with open(os.path.join(where, "c_test.lua"), "w") as f:
        f.write("return { { name = 'x', events = {}, alerts = 0 } }")
    status, out, errors = run("test", where)
    equal((status, errors), (3, ""), out)
    check("\x1b" not in out and "\r" not in out, out)
    equal(lines(out), ["not ok 1 - a \\# SKIP x.lua: one \\# TODO \\x1b[2J\\x0aok 9 \\x0d\\xc8\\xff",
                       "not ok 2 - b_test.lua: the script that it tests", "not ok 3 - c.lua: it can be loaded", "1..3"], out)


# --- commands ----------------------------------------------------------------------------------------

COMMANDS = """
return mw.script { name = "commands", on = { any = function(ev)
  print(ev.type, ev.comm, ev.cmdline, ev.code, ev.parent and ev.parent.comm)
  if ev.type == "exit" and ev.execs > 0 and ev.code ~= 0 then
    mw.alert { severity = ev.signal and "high" or "low", text = ev.cmdline, event = ev }
  end
end } }
"""


def none_left(mark):
    """No process whose arguments hold this; waits for those that are being killed."""
    until = time.monotonic() + 5
    while True:
        left = [p for p in os.listdir("/proc") if p.isdigit() and mark.encode() in (proc_read(p, "cmdline") or b"")]
        if not left:
            return
        check(time.monotonic() < until, f"left: {left}")
        time.sleep(0.05)


@test("test: commands are really run, and the script gets their events, those of their descendants and no others")
def commands_run():
    plain = scratch_file("plain", "")
    mark, fifo = unique("mark"), os.path.join(scratch(), unique("fifo"))
    stranger = subprocess.Popen(["sh", "-c", "while :; do sh -c ': stranger'; done"])
    try:
        status, out, errors = results(COMMANDS, f"""
local mw = require "moonwatch"
return {{
  {{ name = "one", commands = {{ {{ "sh", "-c", "(exit 3); echo said; echo wrong >&2; sh -c 'exit 4'; exit 0" }} }}, status = 0,
     alerts = {{ {{ severity = "low", text = "sh -c exit 4", event = {{ code = 4, comm = "sh", euid = 0, exe = mw.match.glob "/*/*sh",
       parent = {{ comm = "sh", parent = {{ comm = "moonwatch" }} }} }} }} }}, output = {{ "exec\\tsh\\tsh -c (exit 3)" }} }},
  {{ name = "list", commands = {{ {{ "true", "a b", "x\\ny\\27[2J" }}, {{ "false" }}, {{ "sh", "-c", "kill -9 $$" }} }}, status = {{ 0, 1, 137 }},
     alerts = {{ {{ severity = "low", text = "false" }}, {{ severity = "high", event = {{ signal = 9 }} }} }}, output = "x\\ny\\27[2J" }},
  {{ name = "what is left is killed", alerts = {{ {{ event = {{ signal = 9 }} }} }}, status = 0,
     commands = {{ {{ "mkfifo", "{fifo}" }}, {{ "sh", "-c", "(setsid sh -c 'echo >{fifo}; exec sleep 10.3' &) ; read x <{fifo}" }} }} }},
  {{ name = "writes without end", alerts = 3, commands = {{ {{ "sh", "-c", "timeout 0.5 yes; echo seen >/dev/stderr; exit 1" }} }} }},
  {{ name = "fails", commands = {{ {{ "sh", "-c", "echo '\\27[2J{mark}'; exit 3" }} }}, status = 0 }},
  {{ name = "is not there", commands = {{ {{ "true" }}, {{ "no-such-command\\27[2J", "x" }} }}, alerts = 0 }},
  {{ name = "is none", commands = {{ {{ "{plain}" }} }}, alerts = 0 }},
}}""", "--junit", os.path.join(scratch(), "commands.xml"))
    finally:
        stranger.kill()
        stranger.wait()
    equal(errors, "", out)
    equal(lines(out), ["ok 1 - pair.lua: one", "ok 2 - pair.lua: list", "ok 3 - pair.lua: what is left is killed", "ok 4 - pair.lua: writes without end",
                       "not ok 5 - pair.lua: fails", "not ok 6 - pair.lua: is not there", "not ok 7 - pair.lua: is none", "1..7"], out)
    for text in ("#   command 1, 'sh', ends with status 3, not 0", f"# its commands wrote\n#   \\x1b[2J{mark}\n",
                 "#   the command 'no-such-command\\x1b[2J x' cannot be started: No such file or directory",
                 f"#   the command '{plain}' cannot be started: Permission denied"):
        check(text in out, f"{text!r} in {out}")
    check("stranger" not in out and "\x1b" not in out, out)
    cases = xml.etree.ElementTree.parse(os.path.join(scratch(), "commands.xml")).getroot()[0]
    equal((cases[0].find("system-err").text, cases[4].find("system-err").text), ("said\nwrong\n", f"\ufffd[2J{mark}\n"), "what they wrote")
    none_left("10.3")


@test("test: commands that do not end are ended when their time is over, and by whoever ends the test")
def commands_end():
    tests = """return { { name = "hangs", commands = { { "true" }, { "sh", "-c", "trap '' TERM INT HUP; sleep 7.7 & sleep 77.7; :" } }, alerts = 0 },
  { name = "next", commands = { { "true" } }, status = 0 } }"""
    begin = time.monotonic()
    status, out, errors = results(COMMANDS, tests, "--timeout", "1s")
    equal((status, errors, lines(out)), (1, "", ["not ok 1 - pair.lua: hangs", "ok 2 - pair.lua: next", "1..2"]), out)
    check("#   the command 'sh -c trap '' TERM INT HUP; sleep 7.7 & sleep 77.7; :' was ended: it takes more than 1 s\n" in out, out)
    check(1 <= time.monotonic() - begin < 9, f"{time.monotonic() - begin:.1f} s")
    none_left("77.7")
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        ours = subprocess.Popen([MOONWATCH, "test", pair(COMMANDS, tests)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + DEADLINE
        while not any(b"77.7" in (proc_read(p, "cmdline") or b"") for p in os.listdir("/proc") if p.isdigit()):
            check(time.monotonic() < until, "the command began")
            time.sleep(0.01)
        ours.send_signal(how)
        ours.wait(DEADLINE)
        none_left("77.7")


@test("test: where the kernel lets nobody watch, tests with commands are skipped with the reason, and nothing is run")
def commands_skipped():
    def without_network():
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET
            os._exit(99)
    sign = os.path.join(scratch(), unique("sign"))
    path = os.path.join(scratch(), "skipped.xml")
    status, out, errors = run("test", "--junit", path, pair(COMMANDS, f"""return {{
  {{ name = "with commands", commands = {{ {{ "touch", "{sign}" }} }}, alerts = 5 }},
  {{ name = "without", events = {{}}, alerts = 0 }} }}"""), preexec_fn=without_network)
    equal((status, errors), (0, ""), out)
    check(re.match(r"ok 1 - pair.lua: with commands # SKIP [^\n]*network namespace[^\n]*\nok 2 - pair.lua: without\n1..2\n$", out), out)
    check(not os.path.exists(sign), "it was not run")
    suites = xml.etree.ElementTree.parse(path).getroot()
    equal((suites.get("tests"), suites.get("skipped"), suites.get("failures")), ("2", "1", "0"), "counts")
    check("network namespace" in suites[0][0].find("skipped").get("message"), "the reason")


@test("lint, plan, run and reload run no commands of a test")
def commands_only_in_tests():
    where = folder("only")
    sign = os.path.join(scratch(), unique("sign"))
    scratch_file("only/a.lua", BEFORE + COMMANDS)
    tests = f"""return {{ {{ name = "x", commands = {{ {{ "touch", "{sign}" }} }}, alerts = 0 }} }}"""
    scratch_file("only/a_test.lua", tests)
    equal(run("lint", where)[2], "", "lint")
    equal(run("plan", where)[0], 0, "plan")
    with Watch("-q", scripts=[where]) as w:
        for generation in (2, 3):
            os.utime(scratch_file("only/a_test.lua", tests + "-- changed"))
            scratch_file("only/a.lua", BEFORE + COMMANDS + "-- " + unique("changed"))
            w.wait_error(f"(generation {generation})")
        w.stop()
    check(not os.path.exists(sign), "none was run")
    status, out, _ = run("test", where)
    equal((status, os.path.exists(sign)), (0, True), "but by test: " + out)


@test("test: --junit writes XML that holds every result, whatever bytes are in it")
def junit():
    where = folder("junit\x1b<&'\">")
    every = "".join(f"\\{n}" for n in range(1, 256))
    for name, script, tests in (
            ("a", ECHO, f"""return {{ {{ name = "passes é {every}", events = {{ {{ comm = "x" }} }}, alerts = 0 }},
                {{ name = "]]><fails>&", events = {{ {{ comm = "bad" }} }}, alerts = 0, output = "{every}" }} }}"""),
            ("b", "x = = ]]>", "return { { name = 'x', events = {}, alerts = 0 } }")):
        for file, text in ((f"{name}.lua", BEFORE + script), (f"{name}_test.lua", tests)):
            with open(os.path.join(where, file), "w") as f:
                f.write(text)
    path = os.path.join(scratch(), "junit.xml")
    status, out, errors = run("test", "--junit", path, where, "/no/such.lua")
    equal((status, errors, lines(out)[-1]), (3, "", "1..4"), out)
    suites = xml.etree.ElementTree.parse(path).getroot()
    equal((suites.tag, {k: v for k, v in suites.attrib.items() if k != "time"}),
          ("testsuites", {"name": "moonwatch", "tests": "4", "failures": "1", "errors": "2", "skipped": "0"}), "the whole")
    equal([(os.path.basename(s.get("name")), s.get("tests"), s.get("failures"), s.get("errors")) for s in suites],
          [("a.lua", "2", "1", "0"), ("b.lua", "1", "0", "1"), ("such.lua", "1", "0", "1")], "suites")
    passed, failed = suites[0]
    equal((passed.get("classname"), passed.find("failure")), ("a", None), "the one that passes")
    check(passed.get("name").startswith("passes é \\x01\\x02") and "abc" in passed.get("name"), passed.get("name"))
    check(0 <= float(passed.get("time")) < 10, passed.get("time"))
    equal(failed.get("name"), "]]><fails>&", "name")
    equal(failed.find("failure").get("message"), "0 alerts wanted, 1 told", "message")
    check("it does not write '\\x01" in failed.find("failure").text, failed.find("failure").text)
    check("ALERT" in failed.find("system-out").text, failed.find("system-out").text)
    check("b.lua:2: " in suites[1][0].find("error").text and "]]>" in suites[1][0].find("error").text, "the error")
    with open(path, "rb") as f:
        text = f.read()
    check(not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", text), "nothing in it steers a terminal")
    for wrong in ("/no/such/dir.xml", scratch()):
        status, out, errors = run("test", "--junit", wrong, where)
        equal((status, out), (1, ""), "before anything is run")
        check(f"cannot write {wrong}: " in errors, errors)
    status, out, errors = run("test", "--junit", "/dev/full", where)
    equal((status, errors), (1, "moonwatch: cannot write /dev/full: No space left on device\n"), out)


@test("test: --coverage says what ran, also of modules, in all tests together; =FILE writes it for lcov")
def coverage():
    script = scratch_file("covered/a.lua", """local mw = require "moonwatch"
local lib = require "lib"
local function never()
  return 1
end
return mw.script { name = "a", on = {
  exec = function(ev)
    if lib.is(ev, "x") then
      mw.alert { event = ev }
    elseif ev.uid == 0 then
      never()
    end
  end,
  exit = mw.where { code = 3 } (function(ev)
    print(ev.code)
  end),
} }
""")
    scratch_file("covered/lib.lua", "return { is = function(ev, name)\n  return ev.comm == name\nend }\n")
    scratch_file("covered/b.lua", BEFORE + 'local lib = require "lib"\n' + ECHO)
    scratch_file("covered/a_test.lua", """return {
  { name = "one", events = { { comm = "x" } }, alerts = 1 },
  { name = "two", events = { { comm = "y" }, { type = "exit" } }, alerts = 0 } }""")
    scratch_file("covered/b_test.lua", "return { { name = 'one', events = {}, alerts = 0 } }")
    path = os.path.join(scratch(), "lcov.info")
    status, out, errors = run("test", f"--coverage={path}", os.path.dirname(script))
    equal((status, errors), (0, ""), out)
    equal(out[out.index("# covered of a"):].splitlines()[:6], [
        "# covered of a.lua: 11 of 14 lines, 3 of 4 ways, 1 of 3 functions, 1 of 2 handlers",
        "#   handlers that no event came to: exit:14",
        "#   functions that were not called: never:3 exit:14",
        "#   ways that were not taken: 10->11",
        "#   lines that did not run: 4 11 15",
        "# covered of lib.lua: 3 of 3 lines, 0 of 0 ways, 1 of 1 functions, 0 of 0 handlers"], out)
    with open(path) as f:
        records = f.read().split("end_of_record\n")
    equal([r.split("\n")[1:2] for r in records], [[f"SF:{os.path.dirname(script)}/{n}.lua"] for n in ("a", "lib", "b")] + [[]], "files")
    a = records[0].split("\n")
    for line in ("FN:3,never:3", "FNDA:0,never:3", "FNDA:2,exec:7", "BRDA:8,0,0,1", "BRDA:8,0,1,1", "BRDA:10,0,0,0", "BRDA:10,0,1,1",
                 "DA:9,1", "DA:11,0", "DA:17,2", "FNF:3", "FNH:1", "BRF:4", "BRH:3", "LF:14", "LH:11"):
        check(line in a, f"{line} in {a}")
    check("DA:2,2" in records[1].split("\n"), records[1])
    equal(run("test", os.path.dirname(script))[1], "".join(l + "\n" for l in lines(out)), "else nothing of it is said")
    status, out, errors = run("test", "--coverage=/no/such/dir", script)
    equal((status, out, errors), (1, "", "moonwatch: cannot write /no/such/dir: No such file or directory\n"), "no file")
    equal(run("test", "--coverage=/dev/full", script)[::2], (1, "moonwatch: cannot write /dev/full: No space left on device\n"), "full")


@test("test: what lies beside the script is there: modules and lists; nothing else is")
def beside():
    where = scratch_file("beside/x.lua", """
local mw = require "moonwatch"
local bad, name = mw.list "bad.txt", require "lib.name"
return mw.script { name = "x", on = { exec = function(ev)
  if bad:has(name.of(ev)) then mw.alert { event = ev } end
  assert(not ev:stat() and not mw.persist({ name = "p" }):durable())
end } }
""")
    scratch_file("beside/bad.txt", "evil\n")
    scratch_file("beside/lib/name.lua", "return { of = function(ev) return ev.comm end }")
    scratch_file("beside/x_test.lua", "return { { name = 'one', events = { { comm = 'evil' }, { comm = 'x' } }, alerts = 1 } }")
    status, out, errors = run("test", where)
    equal((status, lines(out)), (0, ["ok 1 - x.lua: one", "1..1"]), errors)


@test("test: own ancestors, hostile names and endless lists end")
def hostile():
    status, out, _ = results(ECHO, """
local a = { comm = "a" } a.parent = { comm = "b", parent = a }
local many = {} for i = 1, 5000 do many[i] = { comm = "x" .. i } end
return {
  { name = "own ancestor", events = { a }, alerts = 0 },
  { name = "name\\27[2J\\n1..9", events = many, alerts = 0 },
}""")
    check("\x1b" not in out and "\n1..9\n" not in out, out[:500])
    equal([l[:8] for l in lines(out)], ["not ok 1", "ok 2 - p", "1..2"], out[:500])


@test("test: statuses: 0 passed, 1 not, 2 the command line, 3 script or test are wrong")
def statuses():
    good = "return { { name = 'x', events = {}, alerts = 0 } }"
    equal(run("test", pair(ECHO, good))[0], 0, "passed")
    for script, tests, text in ((" x = = 1", good, "pair.lua:2: "), (" error 'late'", good, "pair.lua:2: late"),
                                (ECHO, "return = 1", "pair_test.lua:1: "), (ECHO, "error 'soon'", "pair_test.lua:1: soon"),
                                (ECHO, "return 1", "returns no list of tests")):
        status, out, errors = run("test", pair(script, tests))
        equal((status, lines(out), errors), (3, ["not ok 1 - pair.lua: it can be loaded", "1..1"], ""), f"{script} {tests}")
        check(text in out, f"{text!r} in {out!r}")
    alone = scratch_file("alone.lua", BEFORE)
    for path, text in ((alone, "alone_test.lua: No such file"), ("/no/such.lua", "/no/such.lua: No such file"),
                       (folder("empty"), "there is no NAME_test.lua"), ("/etc/hostname", "no NAME.lua")):
        status, out, errors = run("test", path)
        equal((status, lines(out)[1:], errors), (3, ["1..1"], ""), path)
        check(text in out, f"{text!r} in {out!r}")
    equal(run("test")[0], 2, "no file")
    equal(run("test", "--help")[0], 0, "help")


@test("test and new need no root")
def no_root():
    path = pair(ECHO, "return { { name = 'x', events = { {} }, alerts = 0 } }")
    equal(run("test", path, user=65534, group=65534, extra_groups=[])[0], 0, "status")


if __name__ == "__main__":
    main()
