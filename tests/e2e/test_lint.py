"""test_lint.py - `moonwatch lint`: what is wrong is found where it is, and what is right is left alone."""
import json
import os
import pty
import shutil
import subprocess

from mwtest import MOONWATCH, ROOT, check, equal, main, run, scratch_file, test

BEFORE = 'local mw = require "moonwatch"\n'


def lint(*words, flags=("--no-luacheck",), **popen):
    status, out, errors = run("lint", "--json", *flags, *words, **popen)
    equal(errors, "", "errors")
    return status, [json.loads(line) for line in out.splitlines()]


def remarks(text, name="policy.lua", flags=("--no-luacheck",)):
    _, found = lint(scratch_file(name, text), flags=flags)
    return [(r["line"], r["column"], r["level"], r["code"], r["text"]) for r in found]


def one(text, line, column, level, code, *parts, **options):
    found = remarks(text, **options)
    equal([f[:4] for f in found], [(line, column, level, code)], f"remarks on {text!r}: {found}")
    for part in parts:
        check(part in found[0][4], f"{part!r} in {found[0][4]!r}")


def handler(body, event="exec", before=""):
    """`body` stands on line 2, from column 1."""
    return (BEFORE.rstrip("\n") + before + f' return mw.script {{ name = "t", on = {{ {event} = function(ev)\n'
            f"{body}\nend }} }}\n")


@test("what is no Lua is an error with its place, and nothing else is said")
def no_lua():
    one("local x = 1\n\tif x = 2 then end\n", 2, 7, "error", "syntax", "'then' expected near '='")
    one("x = (\n", 1, 6, "error", "syntax", "unexpected symbol")
    one('local s = "abc\nprint(s)', 1, 11, "error", "syntax", "unfinished string")
    one("\x1bLJ\x02", 1, 1, "error", "syntax", "bytecode")


@test("a field that no event has is named, with the one that was meant")
def unknown_fields():
    one(handler("print(ev.cmdlin)"), 2, 10, "warning", "field", "'cmdlin': did you mean cmdline?")
    one(handler("print(ev.parent.Comm)"), 2, 17, "warning", "field", "processes have no field 'Comm'", "comm?")
    one(handler("print(ev.was.xee)"), 2, 14, "warning", "field", "`was` has no field 'xee': did you mean exe?")
    one(handler("print(ev.xyzzy)"), 2, 10, "warning", "field", "no field 'xyzzy'")
    one(handler("print(ev:socket())"), 2, 10, "warning", "method", "did you mean sockets?")
    one(handler('print(ev:get "process.nam")'), 2, 14, "error", "field", "did you mean process.name?")
    one(handler('print(ev["cmdlin"])'), 2, 10, "warning", "field")
    one(handler("local p = ev.parent or {}\nprint(p.cmdlin)"), 3, 9, "warning", "field")
    one(handler("for p in ev:ancestors() do print(p.cmdlin) end"), 2, 36, "warning", "field")
    one(handler("print(ev:ancestor(function(p) return p.cmdlin end))"), 2, 40, "warning", "field")
    one(handler('print(ev:ancestor { cmdlin = "x" })'), 2, 21, "warning", "field")
    one(BEFORE + 'mw.script { name = "t", needs = { "cwd", "cgruop" } }', 2, 42, "error", "field", "cgroup?")
    one(BEFORE + 'mw.script { name = "t", on = { exec = mw.where { cod = 1 }(function(ev) print(ev) end) } }', 2, 50, "error",
        "field", "did you mean code?")


@test("fields that exist, that a script made, or that no event's table holds are left alone")
def known_fields():
    for body in ("print(ev.pid, ev.cmdline, ev.id, ev.parent.parent.comm, ev:why 'args', ev:get 'Image', ev.fds)",
                 "ev.via = 1 print(ev.via)", "local t = { cmdlin = 1 } print(t.cmdlin, ev)",
                 "local ev = { cmdlin = 1 } print(ev.cmdlin)", "print(ev.args[1], ev.was and ev.was.exe)",
                 "print(ev[1], ev['c' .. 'wd'])"):
        equal(remarks(handler(body)), [], body)
    equal(remarks(BEFORE + 'for p in mw.processes() do print(p.comm, p.parent) end'), [], "processes")


def asking(body):
    """Asks of one program alone, and so without a hint."""
    return handler("if ev.comm == 'x' then\n" + body + "\nend")


@test("a field that no answer has is named, where the text shows whose answer it is")
def answers():
    for body, word, *parts in (
            ("print(ev:stat().rsss)", "rsss", "stat() gives no field 'rsss': did you mean rss?"),
            ("local s = ev:stat() or {} print(s and s.rsss)", "rsss", "did you mean rss?"),
            ("local s, why = ev.parent:status() print(why, s.secomp)", "secomp", "did you mean seccomp?"),
            ("print(ev:sockets()[1].remote_prt)", "remote_prt", "did you mean remote_port?"),
            ("for _, s in ipairs(ev:sockets() or {}) do print(s.remote_prt) end", "remote_prt"),
            ("local list = ev:fds() for i, s in pairs(list or {}) do print(i, s.pth) end", "pth", "did you mean path?"),
            ("print(ev:sockets().remote_ip)", "remote_ip", "sockets() gives a list: 'remote_ip' is a field of each"),
            ("for p in ev:ancestors() do print(p:memory().rss) end", "rss", "memory() gives no field 'rss'")):
        one(asking(body), 3, body.index("." + word) + 2, "warning", "field", *parts)


@test("fields that answers have, that a script put there, or of what may be another's answer are left alone")
def known_answers():
    for body in ("local s = ev:stat() print(s.rss, s.utime)",
                 "for _, s in ipairs(ev:sockets() or {}) do print(s.remote_ip, s.local_port) end",
                 "local s = ev:stat() s.mine = 1 print(s.mine)",
                 "local s = ev:stat() or ev:status() print(s.euid)",
                 "local s = ev:stat() if ev.uid == 0 then s = ev:status() end print(s.euid)",
                 "local s = ev:stat() for _ = 1, 2 do print(s.euid) s = ev:status() end",
                 "local s = ev:stat() or { euid = 1 } print(s.euid)",
                 "local function f(s) return s.euid end print(f(ev:stat()), f(ev:status()))",
                 "for _, s in ipairs(ev:fds()) do s = { x = 1 } print(s.x) end",
                 "local n = #(ev:fds() or {}) print(n, ev:fds()[1].fd)",
                 "ev.stat = function() return { x = 1 } end print(ev:stat().x)"):
        equal(remarks(asking(body)), [], body)


@test("a field that the events of a handler never have is said, across functions too")
def never():
    one(handler("print(ev.code)"), 2, 10, "warning", "never", "only exit has it", "called for exec")
    one(handler("print(ev.parent.code)"), 2, 17, "warning", "never", "a process has not")
    one(handler("print(ev.was.euid)"), 2, 14, "warning", "never", "only uid has it")
    one(handler("show(ev)", before=" local function show(e) print(e.code) end"), 1, 63, "warning", "never")
    one(BEFORE + 'mw.script { name = "t", on = { exec = mw.where { code = 1 }(function(ev) print(ev) end) } }', 2, 50,
        "warning", "never")
    for text in (handler("print(ev.code)", event="exit"), handler("print(ev.code)", event="any"),
                 BEFORE + 'local function f(ev) print(ev.code) end\n'
                 'return mw.script { name = "t", on = { exec = f, exit = f } }',
                 BEFORE + 'local function f(ev) print(ev.code) end\nlocal on = {}\non.exit = f\n'
                 'return mw.script { name = "t", on = on }'):
        equal(remarks(text), [], text)


@test("events, options of mw.script and mw.alert, and functions that do not exist are named")
def other_names():
    one(BEFORE + 'mw.script { name = "t", on = { exce = print } }', 2, 32, "error", "event", "did you mean exec?")
    one(BEFORE + 'mw.script { name = "t", tag = {} }', 2, 25, "error", "key", "did you mean tags?")
    one(BEFORE + 'mw.alert { severity = "hgih" }', 2, 23, "error", "severity", "low, medium, high or critical")
    one(BEFORE + 'mw.alert { evnt = 1 }', 2, 12, "error", "key", "did you mean event?")
    one(BEFORE + 'mw.alrt { }', 2, 4, "warning", "member", "there is no mw.alrt: did you mean mw.alert?")
    one(BEFORE + 'mw.log(prnt)', 2, 8, "warning", "global", "did you mean print?")
    one(BEFORE + 'mw.log(mw)\ncount = 1', 3, 1, "warning", "global", "without `local`")
    one(BEFORE + 'mw.log(("x"):uper())', 2, 14, "warning", "method", "did you mean upper?")


@test("what the policy profile lacks is said, and is there for trusted scripts")
def profile():
    text = BEFORE + 'mw.log(io.open "x")\n'
    one(text, 2, 8, "warning", "global", "--trusted")
    equal(remarks(text, flags=("--no-luacheck", "--trusted")), [], "trusted")
    one(BEFORE + 'mw.log(os.getenv "x")', 2, 11, "warning", "member", "--trusted")
    one(BEFORE + 'mw.log(require "ffi")', 2, 16, "warning", "profile", "--trusted")


@test("what is never used, and a subscription that does nothing, is said")
def unused():
    one(BEFORE + "local x = 1\nmw.log(1)", 2, 7, "warning", "unused", "local 'x'")
    one(BEFORE + "local function on_exec(ev) mw.log(ev) end", 2, 16, "warning", "unused", "should it be in `on`?")
    one(BEFORE + 'mw.script { name = "t", on = { exec = function() end } }', 2, 39, "warning", "empty", "subscribes to exec")
    equal(remarks(BEFORE + "local _x = 1\nfor i = 1, 2 do mw.log(1) end"), [], "on purpose")


@test("what costs more than it must is a hint, and hints are no failure")
def hints():
    text = handler("local s = ev:sockets() print(s)")
    one(text, 2, 14, "hint", "question", "at each exec")
    equal(lint(scratch_file("hint.lua", text))[0], 0, "status")
    one(handler('print(ev.cmdline:match "a.*b.*c.-d")'), 2, 24, "hint", "pattern", "n^4")
    for body in ("if ev.uid == 0 then print(ev:sockets()) end", "if ev.uid ~= 0 then return end print(ev:sockets())",
                 "print(ev.uid == 0 and ev:sockets())", 'print(ev.cmdline:match "^/tmp/[^/]*$", ev.comm:find("a.-b.-c.-d", 1, true))'):
        equal(remarks(handler(body)), [], body)
    equal(remarks(BEFORE + 'return mw.script { name = "t", on = { exec = mw.where { uid = 0 }(function(ev) '
                  'print(ev:sockets()) end) } }'), [], "behind mw.where")


@test("a test's form is looked at: events, their fields, what it may say")
def tests_of_scripts():
    for text, line, column, code in (
            ("return 1", 1, 1, "test"),
            ('return { { name = "x" } }', 1, 10, "test"),
            ('return { { name = "x", event = {}, events = {} } }', 1, 24, "key"),
            ('return { { name = "x", events = { { type = "exce" } } } }', 1, 44, "event"),
            ('return { { name = "x", events = { { cmdlin = "x" } } } }', 1, 37, "field")):
        found = remarks(text, name="policy_test.lua")
        equal([f[:2] + f[3:4] for f in found], [(line, column, code)], text)
    equal(remarks('return { { name = "x", events = { { comm = "sh", args = { "a" }, at = "5s", parent = {} } }, alerts = 1 } }',
                  name="policy_test.lua"), [], "a right one")


@test("directories are read whole, what cannot be read is said, a comment silences its line")
def files():
    directory = os.path.dirname(scratch_file("lintdir-a.lua", handler("ev.via = 1")))
    folder = os.path.join(directory, "lintdir")
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    for name, text in (("a.lua", handler("print(ev.via, ev.viaa)")), ("b.lua", handler("ev.via = 1")),
                       ("c.txt", "nothing")):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    status, found = lint(folder, "/no/such.lua")
    equal(status, 1, "status")
    equal([(os.path.basename(r["path"]), r["code"]) for r in found], [("a.lua", "field"), ("such.lua", "read")], "remarks")
    equal(remarks(handler("print(ev.cmdlin) -- lint: ignore (made elsewhere)")), [], "silenced")


@test("the name of a directory is no pattern, and what is hidden in it is no script")
def names():
    for name in ("b.lua", "B.lua", "a.lua", ".#a.lua", "a.lua~", ".lua"):
        path = scratch_file("g[1]*/" + name, "local x = 1")
    directory = os.path.dirname(path)
    scratch_file("g1/never.lua", "local x = 1")
    _, found = lint(directory)
    equal([os.path.basename(r["path"]) for r in found], ["B.lua", "a.lua", "b.lua"], "files, in the order of bytes")
    equal({os.path.dirname(r["path"]) for r in found}, {directory}, "where they are")


@test("what ships is clean, but for what is said to need trust")
def what_ships():
    for folder in ("examples", "scripts"):
        _, found = lint(os.path.join(ROOT, folder))
        bad = [r for r in found if r["level"] != "hint" and "--trusted" not in r["text"]]
        equal(bad, [], folder)


@test("luacheck is asked for what we do not look at, where it is installed")
def luacheck():
    text = BEFORE + "local x = 1\nx = 2\nmw.log(x)\nlocal y = 3\n"
    found = remarks(text, flags=())
    codes = [f[3] for f in found]
    check("unused" in codes and codes.count("unused") == 1, codes)
    if shutil.which("luacheck"):
        check("luacheck W311" in codes, codes)
    path = scratch_file("policy.lua", text)
    _, found = lint(path, flags=(), env={"PATH": "/nonexistent"})
    equal([r["code"] for r in found], ["unused"], "without luacheck")


@test("a hostile text cannot steer the terminal, and any text is looked at to its end")
def hostile():
    path = scratch_file("hostile.lua", b'local s = "\x1b]0;x\x07\xc2\x9b31m\xff" .. \x1b[2J\n')
    result = subprocess.run([MOONWATCH, "lint", "--no-luacheck", path], capture_output=True)
    equal(result.returncode, 1, "status")
    for bad in (b"\x1b", b"\x07", b"\xc2\x9b", b"\xff"):
        check(bad not in result.stdout, result.stdout)
    deep = "local x = 1" + " + 1" * 60000 + " return x"
    for text in (deep, "return " + "x." * 60000 + "x", "--" + "[" * 100000, "x = 1 " * 60000, "\0", "#!/bin/sh", ""):
        status, out, errors = run("lint", "--no-luacheck", scratch_file("any.lua", text))
        check(status in (0, 1) and errors == "", (text[:40], status, errors))


@test("people see the line and a caret below the place, in colour on a terminal")
def for_people():
    path = scratch_file("people.lua", "local x = 1\n\tif x = 2 then end\n")
    status, out, _ = run("lint", "--no-luacheck", path)
    equal(status, 1, "status")
    check("     2 |     if x = 2 then end\n       |          ^\n" in out, out)
    check("1 error, 0 warnings, 0 hints" in out, out)
    main_end, end = pty.openpty()
    subprocess.run([MOONWATCH, "lint", "--no-luacheck", path], stdout=end, env=dict(os.environ, NO_COLOR=""))
    os.close(end)
    check(b"\x1b[31m" in os.read(main_end, 65536), "colour")


@test("statuses: 0 clean, 1 remarks, 2 the command line")
def statuses():
    equal(run("lint", "--no-luacheck", os.path.join(ROOT, "examples/hello.lua")), (0, "", ""), "clean")
    equal(run("lint")[0], 2, "no file")
    equal(run("lint", "--nonsense")[0], 2, "no such option")
    equal(run("lint", "--help")[0], 0, "help")


if __name__ == "__main__":
    main()
