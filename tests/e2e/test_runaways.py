"""test_runaways.py - whatever a script does, the one beside it gets every event once.

Each row is a script that runs away when a certain program is started, beside one that tells of each of some other
programs. What becomes of the first is the row's last word:

    error   its call ended with an error within the budget, and it goes on
    off     its process ended with it, and it is off; the other goes on in a new process
    held    nothing happened: what it tried does not exist for it, or is bounded
"""
import re
import subprocess

from mwtest import Watch, check, equal, helper, main, note, test, unique

PROBES = 25

NEIGHBOUR = """
local mw = require "moonwatch"
return mw.script { name = "neighbour", on = {
  exec = mw.where { cmdline = mw.prefix "probe-%s " } (function(ev) print(ev.args[2]) end),
} }
"""

RUNAWAY = """
local mw = require "moonwatch"
%s
return mw.script { name = "runaway", on = {
  exec = mw.where { cmdline = mw.prefix "trigger-%s" } (function(ev)
    %s
  end),
} }
"""

# name, what comes before the script, what its handler does, outcome as a policy, outcome when trusted
ROWS = [
    ("while true do end", "", "while true do end", "error", "off"),
    ("for to 1e15, empty", "", "for i = 1, 1e15 do end", "error", "off"),
    ("for to 1e15, arithmetic", "", "local s = 0 for i = 1, 1e15 do s = s + i % 7 end", "error", "off"),
    ("tail recursion", "", "local function f() return f() end f()", "error", "off"),
    ("coroutines", "", "while true do coroutine.wrap(function() coroutine.yield() end)() end", "error", "any"),
    ("shielded by pcall", "", "while true do pcall(function() while true do end end) end", "error", "off"),
    ("shielded by pcall(error)", "", "while true do pcall(error) end", "error", "any"),
    ("pairs without end", "", "local t = { 1, 2, 3 } while true do for _ in pairs(t) do end end", "error", "off"),
    ("tables without end", "", "while true do local t = { {}, {} } end", "error", "off"),
    ("string.format without end", "", "while true do local s = ('%d %s'):format(1, 'x') end", "error", "off"),
    ("tonumber without end", "", "while true do local n = tonumber '1e5' end", "error", "off"),
    ("table.concat without end", "", "local t = {} for i = 1, 1000 do t[i] = 'x' end while true do table.concat(t) end",
     "error", "off"),
    ("table.sort that loops", "", "table.sort({ 3, 1, 2, 5, 4 }, function() while true do end end)", "error", "off"),
    ("string.rep to 2 GB", "", "local s = ('x'):rep(2 ^ 31 - 1)", "error", "error"),
    ("gsub that grows", "", "local s = ('x'):rep(100000) for i = 1, 30 do s = s:gsub('.', '%0%0') end", "error", "error"),
    ("all memory, in a table", "", "local t = {} for i = 1, 1e9 do t[i] = { i } end", "error", "any"),
    ("all memory, shielded by pcall", "", "local t = {} while true do pcall(function() while true do t[#t + 1] = {} end end) end",
     "error", "any"),
    ("all memory, kept between events", "local kept = {}", "for i = 1, 1e9 do kept[#kept + 1] = ('x'):rep(1000) .. i end",
     "any", "any"),
    ("string.find, catastrophic", "", "local s = ('a'):rep(32768) s:find '.-b'", "any", "any"),
    ("string.find, worse", "", "local s = ('a'):rep(400) s:find '.-.-.-b'", "error", "off"),
    ("deep recursion", "", "local function f(n) return 1 + f(n + 1) end f(1)", "error", "error"),
    ("recursion through gsub", "", "local function f() return (('x'):gsub('x', f)) end f()", "error", "off"),
    ("recursion through coroutine.wrap", "", "local function f() return coroutine.wrap(f)() end f()", "error", "any"),
    ("recursion through __index", "", "local t t = setmetatable({}, { __index = function(_, k) return t[k .. 'x'] end }) local _ = t.x",
     "error", "any"),
    ("recursion through tostring", "", "local t t = setmetatable({}, { __tostring = function() return tostring(t) end }) tostring(t)",
     "error", "any"),
    ("an error that is a table", "", "error { 1 }", "error", "error"),
    ("an error that is nil", "", "error()", "error", "error"),
    ("an error with a __tostring that loops", "", "error(setmetatable({}, { __tostring = function() while true do end end }))",
     "error", "error"),
    ("a loop in xpcall's handler", "", "xpcall(error, function() while true do end end)", "error", "off"),
    ("an error in __gc", "", "local p = newproxy(true) getmetatable(p).__gc = function() error 'gc' end p = nil collectgarbage()",
     "error", "any"),
    ("a loop in __gc", "", "local p = newproxy(true) getmetatable(p).__gc = function() while true do end end p = nil collectgarbage()",
     "error", "off"),
    ("an error in __index", "", "local _ = setmetatable({}, { __index = function() error 'index' end }).x", "error", "error"),
    ("an error in a coroutine", "", "coroutine.wrap(function() error 'inside' end)()", "error", "error"),
    ("os.exit", "", "os.exit(0)", "error", "off"),
    ("a fault through FFI", "", "local ffi = require 'ffi' ffi.cast('int *', 8)[0] = 1", "error", "off"),
    ("abort through FFI", "", "local ffi = require 'ffi' ffi.cdef 'void abort(void);' ffi.C.abort()", "error", "off"),
    ("sleep through FFI", "", "local ffi = require 'ffi' ffi.cdef 'unsigned sleep(unsigned);' ffi.C.sleep(1000)", "error", "off"),
    ("io.read that waits", "", "io.open('/dev/zero'):read('*a')", "error", "any"),
    ("a timer that loops", "", "mw.after(0, function() while true do end end)", "error", "off"),
]


def start(*argv):
    subprocess.run([*argv, "exit:0"], executable=helper("act"), check=True)


def outcome(w):
    text = w.stderr()
    if "runaway is off" in text:
        return "off"
    return "error" if re.search(r"^moonwatch: runaway: ", text, re.M) else "held"


def row(name, before, body, profile, wanted):
    @test(f"{profile}: {name}")
    def _():
        tag = unique("r")
        runaway = RUNAWAY % (before, tag, body)
        scripts = {"trusted" if profile == "trusted" else "scripts": [runaway, NEIGHBOUR % tag]}
        with Watch("--text", "--limit", "300ms", **scripts) as w:
            for n in range(PROBES):
                start(f"probe-{tag}", str(n))
            start(f"trigger-{tag}")
            for n in range(PROBES, 2 * PROBES):
                start(f"probe-{tag}", str(n))
            w.wait_line(lambda line: line.strip() == b"%d" % (2 * PROBES - 1), "the neighbour's last line")
            if wanted != "any":
                w.wait(lambda: outcome(w) == wanted, f"'{wanted}' of the runaway")
            equal(w.stop(), 0, "status")
            found = [int(line) for line in w.lines if re.fullmatch(rb"\d+\n", line)]
            equal(found, list(range(2 * PROBES)), "what the neighbour told")
            check(" missed" not in w.stderr(), w.stderr())
            note(f"{profile:8} {name:40} {outcome(w):6} neighbour {len(found)} of {2 * PROBES}")


for row_name, row_before, row_body, as_policy, when_trusted in ROWS:
    row(row_name, row_before, row_body, "policy", as_policy)
    row(row_name, row_before, row_body, "trusted", when_trusted)


if __name__ == "__main__":
    main()
