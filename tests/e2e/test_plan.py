"""test_plan.py - fields that the scripts look at decide what is read, and `moonwatch plan` tells it."""
import json
import os
import subprocess

from mwtest import (ROOT, Act, Watch, at, check, equal, helper, main, note, run, scratch_file, source, test, unique)

UNASKED = "missing: no script needs it"
SOURCE = source()

# names that the text of the script does not show
HIDDEN = 'local CWD, CGROUP, EXE = "c" .. "wd", "cgr" .. "oup", "e" .. "xe"\n'


def script(handler, name="test", options="", before=HIDDEN):
    return (f'local mw = require "moonwatch"\n{before}\nreturn mw.script {{ name = "{name}", {options} '
            f'on = {{ exec = function(ev) {handler} end }} }}\n')


class Frugal:
    """A script that sees the execs of programs that we start, one line for each."""

    def __init__(self, handler, *options, **script_options):
        self.tag = unique("needs")
        body = f'if ev.args and ev.args[2] == "{self.tag}" then {handler} end'
        self.watch = Watch("-q", "--text", *options, scripts=[script(body, **script_options)], frugal=True)
        self.seen = len(self.watch.lines)
        self.count = 0

    def start(self):
        """Run a program; returns the words of its line."""
        self.count += 1
        name = f"p{self.count}"
        with Act("wait", name=name, args=[self.tag]) as act:  # lives until it is told of
            line = self.watch.wait_line(lambda l: l.startswith(name.encode() + b"\t"), f"the line of {name}",
                                        after=self.seen)
            act.go()
            equal(act.end(), 0, "status of the helper")
        return line.decode().rstrip("\n").split("\t")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.watch.close()


@test("a script that looks only at args: exe, cwd and cgroup are not read, and say that no script needs them")
def only_args():
    with Frugal("print(ev.args[1], ev:why(EXE), ev:why(CWD), ev:why(CGROUP), ev:why 'args', ev:why 'comm')") as f:
        for _ in range(3):
            equal(f.start()[1:], [UNASKED] * 3 + [SOURCE, SOURCE], "why exe, cwd, cgroup, args, comm")
        equal(f.watch.stop(), 0, "status")


@test("an alert's line is whole, and its JSON says what no script needs")
def alert():
    for how in ("--text", "--json"):
        tag = unique("alert")
        body = f'if ev.args and ev.args[2] == "{tag}" then mw.alert {{ event = ev }} end'
        with Watch(how, scripts=[script(body)], frugal=True) as w:
            subprocess.run(["act", tag, "exit:0"], executable=helper("act"), check=True)
            line = w.wait_line(lambda l: tag.encode() in l, "the alert")
            if how == "--text":
                check(f" test: act {tag} exit:0 (".encode() in line, f"the alert's line: {line}")
                continue
            event = json.loads(line)
            equal(at(event, "process.executable"), helper("act"), "executable")
            equal(at(event, "moonwatch.missing.cwd"), "no script needs it", "why cwd is missing")


def dynamic(*options):
    cwd = os.getcwd()
    with Frugal("print(ev.args[1], ev[CWD], ev:why(CWD), ev:why(CGROUP))", *options) as f:
        equal(f.start()[1:], ["nil", UNASKED, UNASKED], "the first time")
        for _ in range(50):  # what is asked for reaches the collector while the next ones start
            words = f.start()[1:]
            if words[0] != "nil":
                break
        equal((words[0], words[2]), (cwd, UNASKED), "then")
        note(f"there from exec {f.count} on")
        equal(f.watch.stop(), 0, "status")


@test("a field that no text shows is nil at first, and there on later execs")
def seen_by_running():
    dynamic()


@test("the same with scripts in one process")
def seen_in_one():
    dynamic("--single")


@test("what a script declares is read; where-clauses and required modules count")
def declared():
    show = "print(ev.args[1], ev:why(CWD), ev:why(CGROUP))"
    with Frugal(show, options='needs = { "cwd" },') as f:
        equal(f.start()[1:], [SOURCE, UNASKED], "cwd declared")
    with Frugal(show, options='needs = "all",') as f:
        check(UNASKED not in f.start(), "all declared")
    scratch_file("needsmodule.lua", "return function(ev) return ev.cwd end\n")
    with Frugal(show, before=HIDDEN + 'require "needsmodule"\n') as f:
        equal(f.start()[1:], [SOURCE, UNASKED], "cwd in a module")


@test("a script that hands on whole events gets whole events, from the first one on")
def whole():
    for handler in ("mw.emit(ev)", "print(mw.json(ev))",
                    "local n = 0 for k in pairs(ev) do n = n + (k == CWD and 1 or 0) end print(n .. ev.args[2])"):
        tag = unique("whole")
        with Watch("-q", "--json", scripts=[script(f'if ev.args and ev.args[2] == "{tag}" then {handler} end')],
                   frugal=True) as w:
            subprocess.run(["act", tag, "exit:0"], executable=helper("act"), check=True)
            line = w.wait_line(lambda l: tag.encode() in l, "the line").decode()
            check(os.getcwd() in line or line.startswith("1"), f"{handler}: {line}")


# --- plan --------------------------------------------------------------------------------------


def plan(*words, **popen):
    status, out, errors = run("plan", "--json", *words, **popen)
    equal((status, errors), (0, ""), f"status and errors of plan {words}")
    return json.loads(out)


def read_files(result):
    return {s["name"].rsplit("/", 1)[1] for s in result["sources"] if s["read"]}


@test("plan tells each script's events and fields, and their union")
def plan_of_scripts():
    p = plan(*(os.path.join(ROOT, "examples", n + ".lua") for n in ("hello", "top-commands", "slow-commands")))
    equal([(s["name"], s["events"]) for s in p["scripts"]],
          [("hello", ["exec"]), ("top-commands", ["exec"]), ("slow-commands", ["exit"])], "scripts")
    equal(p["scripts"][1]["fields"], ["comm"], "fields of top-commands")
    equal(set(p["fields"]), set(sum((s["fields"] for s in p["scripts"]), [])), "the union")
    equal(read_files(p), {"stat", "cmdline"}, "what is read")
    check("ptrace" in p["kernel_events_unasked"] and "exec" in p["kernel_events"], p)
    equal(read_files(plan("-e", "exec: comm == 'sh' => print(pid)")), {"stat"}, "a line about names")
    equal(read_files(plan("-e", "exec: cgroup => print(pid, cwd)")), {"stat", "cwd", "cgroup"}, "another line")
    everything = plan("-e", "ptrace: true")
    equal(everything["fields"], ["all"], "a line that emits")
    equal(read_files(everything), {"stat", "cmdline", "exe", "cwd", "loginuid", "ns", "cgroup"}, "all that is read")
    check("ptrace" in everything["kernel_events"], everything)


@test("plan measures: what is read costs more than nothing and less than a millisecond")
def plan_measures():
    p = plan(os.path.join(ROOT, "examples/hello.lua"))
    for source in p["sources"]:
        check(0 < source["us"] < 1000, source)
    check(0 < p["exec_us"] < p["all_us"] < 1000, p)
    whole = scratch_file("whole.lua", """local mw = require "moonwatch"
return mw.script { name = "whole", needs = "all", on = { exec = function() end } }
""")
    p = plan(whole)
    equal(p["exec_us"], p["all_us"], "who needs all pays for all")
    if SOURCE == "tap" and os.geteuid() == 0:
        check(0 < p["tap_us"] < 1000 and "no_tap" not in p, p)
    else:
        check(p["no_tap"] and "tap_us" not in p, p)


@test("plan needs no root, runs nothing but the loading, and drops what scripts print")
def plan_is_harmless():
    path = scratch_file("talks.lua", """
local mw = require "moonwatch"
print "while it loads"
mw.emit { a = 1 }
mw.every(0.001, function() print "timer" end)
mw.at_exit(function() print "at the end" end)
return mw.script { name = 'a "name" \\\\ é', on = { any = function() end } }
""")
    for options in ({}, {"user": 65534, "group": 65534, "extra_groups": []}):
        p = plan(path, **options)
        equal([(s["name"], s["events"]) for s in p["scripts"]], [('a "name" \\ é', ["any"])], "scripts")
    status, out, errors = run("plan", path)
    equal((status, errors), (0, ""), "status and errors as text")
    check("while it loads" not in out and "/proc/PID/cmdline" in out, out)


@test("plan's exit statuses are those of run: 2 for the line, 3 for a script")
def plan_statuses():
    broken = scratch_file("needs-broken.lua", "local x = = 1\n")
    unknown = scratch_file("needs-unknown.lua", 'local mw = require "moonwatch"\nreturn mw.script { name = "x",\n'
                           '  needs = { "cwd", "cgruop" } }\n')
    for words, wanted, text in [
            (["plan"], 2, "no script is named"),
            (["plan", "/no/such.lua"], 3, "/no/such.lua"),
            (["plan", broken], 3, f"{broken}:1: "),
            (["plan", unknown], 3, f"{unknown}:3: mw.script: needs: no field is named 'cgruop'"),
            (["run", unknown], 3, f"{unknown}:3: mw.script: needs: no field is named 'cgruop'"),
    ]:
        status, out, errors = run(*words)
        equal((status, out), (wanted, ""), f"status and output of {words}")
        check(text in errors, f"the message for {words}: {errors!r}")
    equal(run("plan", "--help")[0], 0, "status of --help")


if __name__ == "__main__":
    main()
