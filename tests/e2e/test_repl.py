"""test_repl.py - `moonwatch repl`: Lua by the line where scripts run, on live events, through a pipe and on a terminal."""
import ctypes
import os
import re
import select
import signal
import subprocess
import termios

from mwcontrol import Controlled, Terminal, script
from mwtest import DEADLINE, MOONWATCH, check, environment, equal, helper, main, run, scratch, short, test, unique


def lines(text, *words):
    """What the repl answers to these lines, through a pipe."""
    done = subprocess.run([MOONWATCH, "repl", *words], input=text.encode(), capture_output=True, timeout=DEADLINE * 2,
                          env=environment())
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Repl(Terminal):
    def __init__(self, *words):
        os.environ["HOME"] = scratch()
        super().__init__("repl", *words, columns=100)
        self.wait(rb"> ", "the prompt")

    def line(self, text, pattern, what):
        self.seen = b""
        self.press(text.encode() + b"\n")
        self.wait(pattern, what)


def act(tag):
    subprocess.run(["act", tag, "exit:0"], executable=helper("act"), check=True)


@test("expressions show their value, statements run, what is not whole goes on, errors are one sentence")
def values():
    status, out, errors = lines("""1 + 1
"a\\n\\27[2Jb", nil, true, {}
x = { 3, 4, name = "n", inner = { 1 }, ["a b"] = 1 }
x
for i = 1, 2 do
print(i, "p")
end

error "no"
error {}
1 1
nosuch.field
mw.seconds "soon"
1 +
2
""")
    equal((status, errors), (1, ""), "a line was wrong: " + out)
    equal(out.splitlines(), [
        "2",
        r'"a\n\27[2Jb"    nil    true    {}',
        '{ 3, 4, ["a b"] = 1, inner = {...}, name = "n" }',
        "1    p", "2    p",
        "no",
        "(the error is a table)",
        "repl:1: unexpected symbol near '1'",
        "repl:1: attempt to index global 'nosuch' (a nil value)",
        out.splitlines()[9], "3"], out)
    check("soon" in out.splitlines()[9] or "span" in out.splitlines()[9], out)


@test("a line that never ends is interrupted, and the next one is taken")
def endless():
    status, out, errors = lines("while true do end\n7 * 6\n")
    equal((status, errors), (1, ""), out)
    check("over its budget" in out.splitlines()[0] and out.splitlines()[1] == "42", out)


@test("on.exec is called for each exec, ev is the last event, what a handler prints is shown; mw.emit and alerts too")
def events():
    tag = unique("repl")
    process = subprocess.Popen([MOONWATCH, "repl", "--for", "30s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment())
    process.stdin.write(f"""on.exec = function(ev) if ev.args and ev.args[2] == "{tag}" then
print("seen", ev.args[3], ev.parent ~= nil) mw.alert {{ severity = "low", text = "alerted" }} mw.emit("emitted")
error "once" end end
print "ready"
""".encode())
    process.stdin.flush()
    equal(process.stdout.readline(), b"ready\n", "ready")
    for _ in range(2):
        act(tag)
    seen = [process.stdout.readline().decode().rstrip("\n") for _ in range(4)]
    equal(seen[:3], ["seen    exit:0    true", "ALERT low alerted", "emitted"], "printed")
    check(seen[3].startswith("on.exec failed and is taken out: repl:3: once"), seen[3])
    process.stdin.close()
    process.send_signal(signal.SIGINT)
    equal((process.wait(DEADLINE), process.stderr.read()), (0, b""), "the end")


@test("what a process calls itself cannot steer the terminal")
def hostile():
    status, out, _ = lines('print("\\27[2J\\194\\155x\\7")\n"\\255\\194\\155"\nsetmetatable({}, {})\n')
    equal(status, 0, out)
    for bad in ("\x1b", "\x07", "\x9b"):
        check(bad not in out, repr(out))


@test("with --control it looks on at a running watch, whose scripts go on; without one it is status 5")
def attached():
    tag = unique("attached")
    with Controlled("-q", scripts=[script("other", tag, "print('script', ev.args[2])")]) as w:
        status, out, errors = lines("6 * 7\n#mw.json { 1 }\n", "--control", w.socket)
        equal((status, out, errors), (0, "42\n3\n", ""), "answers")
        act(tag)
        w.wait_line(lambda l: l == f"script\t{tag}\n".encode(), "the script's line")
        equal(lines("x = 1\n", "--control", w.socket)[0], 0, "again")
    status, out, errors = lines("1\n", "--control", os.path.join(scratch(), "none"))
    equal((status, out), (5, ""), "status")
    check("no watch answers" in errors and errors.count("\n") == 1, errors)
    for words in (["--nonsense"], ["more"], ["--for", "x"]):
        equal(lines("", *words)[0], 2, words)
    equal(run("repl", "--help")[0], 0, "help")


@test("looking on at a watch, it is told of events that nobody else there asked for")
def attached_events():
    libc = ctypes.CDLL(None, use_errno=True)
    with Controlled("-q", lines=["exec: false"]) as w:
        process = subprocess.Popen([MOONWATCH, "repl", "--control", w.socket, "--for", "30s"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        process.stdin.write(f"""on.ptrace = function(ev) if ev.tracer == {os.getpid()} then print("traced", ev.pid) end
end print "ready"
""".encode())
        process.stdin.flush()
        equal(process.stdout.readline(), b"ready\n", "ready")
        traced = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
        equal(libc.ptrace(16, traced.pid, None, None), 0, "PTRACE_ATTACH")
        os.waitpid(traced.pid, 0)  # it has stopped
        equal(libc.ptrace(17, traced.pid, None, None), 0, "PTRACE_DETACH")
        traced.kill()
        told = select.select([process.stdout], [], [], DEADLINE)[0] and process.stdout.readline()
        equal(told, f"traced    {traced.pid}\n".encode(), "the event")
        traced.wait()
        process.stdin.close()
        process.send_signal(signal.SIGINT)
        equal(process.wait(DEADLINE), 0, "status")


@test("on a terminal: TAB completes fields and functions, Ctrl-C gives a line up, Ctrl-D ends, the terminal is as it was")
def terminal():
    with Controlled("-q", lines=["exec: false"]) as w:
        t = Repl("--control", w.socket)
        t.line("mw.seco\t '5m'", rb"300", "a function")
        t.line("p = { parent = 31 }", rb"> \Z", "a table")
        t.line("p.paren\t", rb"31", "a field of a process by another name")
        t.line("type(ev) == ev and ev.cmdl\t", rb"(true|false)", "a field")
        t.press(b"mw.seco")
        t.wait(rb"seco", "the echo")
        t.seen = b""
        t.press(b"\x03")
        t.wait(rb"\n> \Z", "a new line")
        t.seen = b""
        t.press(b"mw.s\t")
        t.wait(rb"mw\.seconds +mw\.se", "the choices")
        t.press(b"\x15")  # Ctrl-U
        t.line("for i = 1, 2 do", rb">> ", "more is wanted")
        t.line("print(i * 21) end", rb"21\r\n42", "the loop")
        t.line(":help", rb":events", "help")
        t.line("return 1 +", rb">> ", "more is wanted")
        t.seen = b""
        t.press(b"\x03")
        t.wait(rb"\n> \Z", "a new line")
        t.line("'after'", rb'"after"\r\n.*> \Z', "the next line")
        t.press(b"\x04")
        equal(t.status(), 0, "status")
    with open(os.path.join(scratch(), ".moonwatch_history")) as f:
        check("after" in f.read(), "the history is kept")
    equal(os.stat(os.path.join(scratch(), ".moonwatch_history")).st_mode & 0o777, 0o600, "for its owner alone")


@test("what a handler prints comes above the line that is being typed, which stays")
def above():
    tag = unique("above")
    t = Repl()
    t.line(f'on.exec = function(ev) if ev.args and ev.args[2] == "{tag}" then print("it was", ev.args[3]) end end',
           rb"> \Z", "the prompt")
    t.seen = b""
    t.press(b"6 * ")
    t.wait(rb"6 \* ", "the echo")
    act(tag)
    t.wait(rb"it was    exit:0\r\n.*6 \* ", "the output, and the line again")
    t.line("7", rb"42\r\n.*> \Z", "what was typed before and after")
    t.press(b"\x04")
    equal(t.status(), 0, "status")


@test("the watch's end ends it, and the terminal has its echo again")
def ends():
    with Controlled("-q", lines=["exec: false"]) as w:
        t = Repl("--control", w.socket)
        w.stop()
        t.wait(rb"the watch has ended", "told")
        mode = termios.tcgetattr(t.fd)[3]
        equal(t.status(), 5, "status")
        check(mode & termios.ECHO or re.search(rb"ended", t.seen), short(t.seen))


if __name__ == "__main__":
    main()
