"""test_ctl.py - a running watch takes orders over its socket, and `top` shows it."""
import json
import os
import re
import signal
import socket
import stat
import subprocess
import termios

from mwcontrol import SCRIPT, Controlled, Terminal, script
from mwtest import DEADLINE, MOONWATCH, check, equal, main, run, scratch, scratch_file, short, test, unique

# --- orders ------------------------------------------------------------------------------------------


@test("status tells of the watch, its workers and each script, as JSON and as a table of 80 columns")
def status():
    tag = unique("status")
    path = script("counts", tag, "print(ev.args[2])")
    with Controlled("-q", scripts=[path]) as w:
        w.act(tag)
        w.wait_line(lambda l: l == tag.encode() + b"\n", "the script's line")
        s = w.status()
        equal(s["pid"], w.pid, "pid")
        check(s["events"] > 0 and s["uptime_s"] > 0 and s["lost"] == 0, s)
        worker = s["workers"][0]
        check(worker["group"] == "policy" and worker["pid"] != w.pid and 0 < worker["memory_bytes"] < 64 << 20, worker)
        counts = w.script("counts")
        check(counts["calls"] >= 1 and counts["errors"] == 0 and counts["p99_us"] >= counts["p50_us"] > 0, counts)
        equal((counts["path"], counts["state"], counts["events"]), (path, "on", "exec"), "script")
        code, out, errors = w.ctl("status")
        equal((code, errors), (0, ""), "status as text")
        check(re.search(r"^counts +on +1 .* exec$", out, re.M), out)
        check(max(map(len, out.splitlines())) <= 100, out)


@test("status shows names of scripts whole, up to 40 columns: they can be typed; the columns stay in line")
def long_names():
    long = "a-name-of-the-policy-of-40-columns-oOOOo"
    with Controlled("-q", scripts=[script(long, "x", "print(1)"), script("short", "x", "print(1)"),
                                   script("b" * 60, "x", "print(1)")]) as w:
        code, out, errors = w.ctl("status")
        equal((len(long), code, errors), (40, 0, ""), "status")
        for name in (long, "short" + 35 * " ", "b" * 40, "SCRIPT" + 34 * " "):
            check(re.search("^" + name + r" (STATE|on) ", out, re.M), out)
        t = Terminal("ctl", "--control", w.socket, "status")
        t.wait(long.encode() + b" on [^\n]*\r\n", "the name whole, on a terminal of 80 columns too")
        equal(t.status(), 0, "status on a terminal")
        check(all(len(l) <= 80 for l in t.seen.decode().splitlines()[:-1] if "\x1b" not in l), t.seen)


@test("where two scripts have one name, status shows their files too")
def same_names():
    twins = [scratch_file(f"same/{file}.lua", SCRIPT.format(name="same", tag="x", body="print(1)")) for file in "ab"]
    with Controlled("-q", scripts=[*twins, script("other", "x", "print(1)")]) as w:
        out = w.ctl("status")[1]
        for name in (r"a\.lua \(same\)", r"b\.lua \(same\)", "other"):
            check(re.search(f"^{name} +on ", out, re.M), out)


@test("a script that is disabled gets no event until it is enabled")
def disable():
    tag, other = unique("off"), unique("on")
    with Controlled("-q", scripts=[script("first", tag, "print('first', ev.args[2])"),
                                   script("second", tag, "print('second', ev.args[2])")]) as w:
        equal(w.ctl("disable", "first"), (0, "", ""), "disable")
        w.act(tag)
        w.wait_line(lambda l: l == f"second\t{tag}\n".encode(), "the neighbour's line")
        check(f"first\t{tag}\n".encode() not in w.lines, "the disabled one is silent")
        equal(w.script("first")["state"], "off", "state")
        check("off" in w.ctl("status")[1], "the table says so")
        code, _, errors = w.ctl("disable", "first")
        equal(code, 1, "again")
        check("first" in errors, errors)
        equal(w.ctl("enable", "first"), (0, "", ""), "enable")
        for _ in range(50):
            w.act(tag)
            if any(l.startswith(b"first") for l in w.lines):
                break
        w.wait_line(lambda l: l == f"first\t{tag}\n".encode(), "its line " + other)


@test("what is refused says why, with status 1; what is no order is status 2; nobody there is 5")
def refusals():
    with Controlled("-q", scripts=[script("one", "x", "print(1)")]) as w:
        for words in (["disable", "nope"], ["diff", "one"], ["promote", "one"], ["drop", "nope"],
                      ["shadow", "/no/such/one.lua"]):
            code, out, errors = w.ctl(*words)
            equal((code, out), (1, ""), words)
            check(errors.startswith("moonwatch: ") and len(errors) > 20, errors)
        for words in ([], ["nope"], ["status", "x"], ["disable"], ["disable", "a", "b"], ["--nonsense"],
                      ["--promote", "status"]):
            equal(w.ctl(*words)[0], 2, words)
        gone = w.socket
    for command in (["ctl", "status"], ["reload"], ["top", "-n", "1"]):
        code, out, errors = run(command[0], "--control", gone, *command[1:])
        equal((code, out), (5, ""), command)
        check("no watch answers at " + gone in errors, errors)
    equal(run("ctl", "--help")[0], 0, "help")


@test("a refusal says which: no such script and who there is, no such file, no shadow, on or off already")
def refusals_differ():
    many = [script(f"many-{n:02}", "x", "print(1)") for n in range(11)]
    twins = [scratch_file(f"{place}/twin.lua", SCRIPT.format(name=place, tag="x", body="print(1)")) for place in "ab"]
    stranger = scratch_file("next/other.lua", SCRIPT.format(name="other", tag="x", body="print(1)"))
    with Controlled("-q", scripts=[script("good", "x", "print(1)"), script("web", "x", "print(1)")]) as w:
        for words, wanted in ((["disable", "nope"], "no script is named 'nope'; there are: -e, good, web"),
                              (["diff", "nope"], "no script is named 'nope'; there are: -e, good, web"),
                              (["diff", "good"], "'good' has no shadow"),
                              (["promote", "good"], "'good' has no shadow"),
                              (["drop", "good"], "'good' has no shadow"),
                              (["enable", "good"], "'good' is on already"),
                              (["shadow", stranger], "no running script has the file name other.lua; "
                                                     "there are: good.lua, web.lua")):
            equal(w.ctl(*words), (1, "", f"moonwatch: {wanted}\n"), words)
        equal(w.ctl("disable", "good")[0], 0, "disable")
        equal(w.ctl("disable", "good"), (1, "", "moonwatch: 'good' is off already\n"), "disabled twice")
    with Controlled("-q", scripts=many) as w:
        errors = w.ctl("disable", "nope")[2]
        check(errors.endswith(", many-08 and 2 more\n") and "many-09" not in errors, errors)
    with Controlled("-q", scripts=twins) as w:
        errors = w.ctl("disable", "twin")[2]
        check("more than one script has the file name twin: give the path of one" in errors, errors)
        equal(w.ctl("disable", twins[1]), (0, "", ""), "by its path")


# --- a version beside the other -----------------------------------------------------------------------


ALERT = 'mw.alert {{ text = "{0}" .. (ev.args[3] or ""), event = ev }}'


@test("reload --shadow compares the alerts of two versions on the same events; then one of them goes")
def shadow():
    tag = unique("shadow")
    path = script("policy", tag, 'mw.alert { text = "same", event = ev } mw.alert { text = "old", event = ev }')
    new = scratch_file("next/policy.lua", SCRIPT.format(
        name="policy", tag=tag, body='mw.alert { text = "same", event = ev } mw.alert { text = "new", event = ev }'))
    with Controlled("-q", "--text", scripts=[path]) as w:
        client = subprocess.Popen([MOONWATCH, "reload", "--control", w.socket, "--shadow", "2s", new],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        first = client.stdout.readline()
        check(first.startswith(new) and "2 s" in first, first)
        for _ in range(12):
            w.act(tag)
        out, errors = client.communicate(timeout=DEADLINE)
        equal((client.returncode, errors), (1, ""), out)
        check(out.count("- ") == 12 and out.count("+ ") == 12 and "old" in out and "new" in out, out)
        check("alerts of both 12, only of the old one 12, only of the new one 12" in out, out)
        told = re.findall(r"^([-+]) .* event (\d+) ", out, re.M)
        equal([int(number) for _, number in told], sorted(int(number) for _, number in told), "order of events")
        equal([mark for mark, _ in told], ["-", "+"] * 12, "what belongs together stands together")
        check("moonwatch ctl promote 'policy'" in out, out)
        check(not any(b"policy: new" in l for l in w.lines), "the shadow tells nobody")
        equal(w.script("policy")["state"], "shadow", "state")
        table = w.ctl("status")[1]
        check(re.search(r"^policy +on \+shadow +1 ", table, re.M), table)
        equal(w.ctl("promote", "policy"), (0, "", ""), "promote")
        for _ in range(50):
            w.act(tag)
            if any(b"policy: new" in l for l in w.lines):
                break
        w.wait_line(lambda l: b"policy: new" in l, "an alert of the new version")
        equal(w.script("policy")["state"], "on", "state")


@test("reload --shadow --promote promotes what tells the same, --drop drops it; the status says equal or not")
def shadow_decides():
    tag = unique("equal")
    path = script("same", tag, 'mw.alert { text = "a", event = ev }')
    new = scratch_file("next/same.lua", SCRIPT.format(name="same", tag=tag, body='mw.alert { text = "a", event = ev }'))
    with Controlled("-q", scripts=[path]) as w:
        code, out, errors = w.ctl("--shadow", "200ms", "--drop", new, command="reload")
        equal((code, errors), (0, ""), out)
        check("dropped" in out, out)
        equal((w.script("same")["state"], w.script("same")["generation"]), ("on", 1), "state")
        code, out, errors = w.ctl("--shadow", "200ms", "--promote", new, command="reload")
        equal((code, errors), (0, ""), out)
        check("promoted" in out, out)
        code, out, errors = w.ctl("--json", "--shadow", "200ms", "--drop", new, command="reload")
        equal(json.loads(out)["only_new"], [], "as JSON")
    for words in (["--shadow", "1s"], ["--shadow", "soon", new], ["x.lua"], ["--promote"]):
        equal(run("reload", *words)[0], 2, words)


# --- the socket ---------------------------------------------------------------------------------------


@test("the socket is its owner's, is gone at the end, and a dead watch's is replaced")
def the_socket():
    with Controlled("-q", lines=["exec: false"]) as w:
        mode = os.stat(w.socket)
        check(stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o600, oct(mode.st_mode))
        code, _, errors = run("run", "-q", "--for", "5s", "--control", w.socket, "-e", "exec: false")
        equal(code, 1, "status of a second one")
        equal(errors, f"moonwatch: another watch listens at {w.socket}: give --control none, or another path\n", "mend")
        w.status()
        w.process.send_signal(signal.SIGKILL)
        w.process.wait()
        check(os.path.exists(w.socket), "left behind")
        code, _, errors = run("run", "-q", "--for", "10ms", "--control", w.socket, "-e", "exec: false")
        equal((code, errors), (0, ""), "in its place")
        check(not os.path.exists(w.socket), "gone at the end")


@test("--control none listens nowhere, the live view neither; what is in the way is named")
def nowhere():
    before = set(os.listdir(scratch()))
    equal(run("-q", "--for", "10ms", "--control", os.path.join(scratch(), "view"), env={"MOONWATCH_CONTROL": ""})[0], 0,
          "view")
    equal(set(os.listdir(scratch())) - before, set(), "nothing made by the view")
    path = scratch_file("in-the-way", "mine")
    code, _, errors = run("run", "-q", "--for", "5s", "--control", path, "-e", "exec: false")
    equal(code, 1, "status")
    check("is there and is no socket: give --control none, or another path\n" in errors, errors)
    path = os.path.join(scratch(), "not-there/x.sock")
    code, _, errors = run("run", "-q", "--for", "5s", "--control", path, "-e", "exec: false")
    equal((code, errors), (1, f"moonwatch: cannot listen at {path}: No such file or directory: "
                              "make its directory, or give --control none or another path\n"), "no directory")


@test("clients that hang, chatter or send rubbish hold neither the watch nor each other")
def rude_clients():
    tag = unique("rude")
    with Controlled("-q", scripts=[script("polite", tag, "print(ev.args[2])")]) as w:
        clients = []
        for rubbish in (b"", b"[", b"\xff\x00\n", b'["status"]\n' * 2000, b"x" * 300000, b'["eval","' + b"a" * 100000):
            c = socket.socket(socket.AF_UNIX)
            c.connect(w.socket)
            c.setblocking(False)
            try:
                c.send(rubbish)
            except OSError:
                pass
            clients.append(c)
        w.act(tag)
        w.wait_line(lambda l: l == tag.encode() + b"\n", "the script's line")
        equal(w.script("polite")["errors"], 0, "errors")
        for c in clients:
            c.close()
        w.status()
        equal(w.stop(), 0, "status at the end")


# --- top ------------------------------------------------------------------------------------------------


LEAVE = b"\x1b[0m\x1b[?25h\x1b[?1049l"


@test("top shows the scripts live in 80 columns, follows the window's size, and gives the terminal back on q")
def top():
    hostile = scratch_file("hostile.lua", b'local mw = require "moonwatch"\n'
                           b'return mw.script { name = "\xc2\x9b31m\xc3\xa9 and a name that is far too long for a cell", '
                           b'on = { exec = function() end } }\n')
    with Controlled("-q", scripts=[script("shown", "x", "print(1)"), hostile]) as w:
        t = Terminal("top", "--control", w.socket, "--every", "100ms")
        t.wait(rb"SCRIPT.*shown", "the script")
        t.wait(rb"\x1b\[\?25l", "no cursor")
        frames = t.seen.split(b"\x1b[H")
        for line in frames[-1].decode().split("\r\n"):
            shown = re.sub(r"\x1b\[[\d?]*[A-Za-z]", "", line)
            check(len(shown) <= 80, f"{len(shown)}: {shown!r}")
        check(b"\xc2\x9b" not in t.seen, "a name steers the terminal")
        t.resize(40, 6)
        os.kill(t.pid, signal.SIGWINCH)
        t.seen = b""
        t.wait(rb"\x1b\[H[^\x00]*\x1b\[J", "a frame")
        t.seen = b""
        t.wait(rb"\x1b\[J[^\x00]*\x1b\[H[^\x00]*\x1b\[J", "a small frame")
        frame = t.seen.split(b"\x1b[H")[1]
        check(frame.count(b"\r\n") <= 6, f"{frame!r}")
        t.press(b"q")
        equal(t.status(), 0, "status")
        check(t.seen.endswith(LEAVE), short(t.seen[-100:]))


@test("top gives the terminal back on Ctrl-C, SIGTERM and when the watch ends")
def top_ends():
    for how, wanted in (("ctrl-c", 0), ("term", 0), ("watch", 5)):
        with Controlled("-q", scripts=[script("shown", "x", "print(1)")]) as w:
            t = Terminal("top", "--control", w.socket, "--every", "100ms")
            t.wait(rb"SCRIPT.*shown", "the script")
            mode = termios.tcgetattr(t.fd)[3]
            check(not mode & termios.ECHO and not mode & termios.ICANON, "it has the keys at once")
            if how == "ctrl-c":
                t.press(b"\x03")
            elif how == "term":
                os.kill(t.pid, signal.SIGTERM)
            else:
                w.stop()
            t.wait(re.escape(LEAVE), "the terminal is given back")
            mode = termios.tcgetattr(t.fd)[3]
            check(mode & termios.ECHO and mode & termios.ICANON, f"echo and lines again after {how}")
            equal(t.status(), wanted, f"status after {how}")
            if how == "watch":
                check(b"the watch has ended" in t.seen, short(t.seen[-200:]))


@test("top into a pipe writes plain tables, -n so many, with rates of the last interval")
def top_plain():
    tag = unique("rate")
    with Controlled("-q", scripts=[script("rates", tag, "print(1)")]) as w:
        code, out, errors = run("top", "--control", w.socket, "--every", "100ms", "-n", "3")
        equal((code, errors), (0, ""), "status")
        equal(out.count("SCRIPT"), 3, out)
        check("\x1b" not in out, "plain")
        for words in (["-n", "0"], ["-n", "x"], ["--every", "1ms"], ["more"]):
            equal(run("top", *words)[0], 2, words)


if __name__ == "__main__":
    main()
