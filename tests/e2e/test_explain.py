"""test_explain.py - `moonwatch explain` tells how an alert came about, from a recording of stand-ins: as text and
as a picture, whatever they call themselves."""
import functools
import os
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as xml

from mwtest import MARKER, Watch, check, equal, main, note, run, scratch, scratch_file, test, unique

SVG = "{http://www.w3.org/2000/svg}"


def stand_in(name):
    """A shell under another name: that is how the kernel calls it."""
    path = os.path.join(scratch(), name)
    if not os.path.exists(path):
        shutil.copy("/bin/sh", path)
    return path


def script_text(server):
    return f"""
local mw = require "moonwatch"
return mw.script {{ name = "shell-under", tags = {{ "attack.t1505.003" }}, on = {{
  exec = function(ev)
    if ev.args and ev.args[2] == "{MARKER}" then print(ev.args[1], ev.args[2]) return end
    local server = ev:ancestor {{ comm = "{server}" }}
    local count, odd = 3, "a\\27[31m\\nb<&>"
    if server and ev.comm == "victim" then
      mw.alert {{ severity = "high", key = "k", event = ev, text = "runs " .. ev.cmdline }}
    end
  end,
  exit = function(ev) if ev.comm == "{server}" then print("ended", ev.comm) end end,
}} }}
"""


class Recorded:
    """A server that ran before, and what its shell does; all in a recording, with the script that watched."""

    def __init__(self, commands, before="", words=()):
        self.server = unique("srv")[:15]
        stand_in("victim")
        self.path = os.path.join(scratch(), unique("rec") + ".mwr")
        self.script = scratch_file(unique("script") + ".lua", script_text(self.server))
        env = {**os.environ, "PATH": f"{scratch()}:{os.environ['PATH']}"}
        argv = [self.server, "-c", f"read line; {before} {commands}", *words]
        with subprocess.Popen(argv, executable=stand_in(self.server), stdin=subprocess.PIPE, env=env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            self.pid = process.pid
            with Watch("record", "-o", self.path, "--redact", "none", "--text", self.script, ready=False) as w:
                w.marker()
                process.stdin.write(b"\n")
                process.stdin.close()
                process.wait(30)
                w.wait_line(lambda line: line.startswith(b"ended"), "the end of the server")
                equal(w.stop(), 0, "status of record")


@functools.lru_cache
def web():
    """The server's shell runs the victim, which runs others."""
    return Recorded("victim -c '/bin/true one; victim -c \"kill -9 \\$\\$\"; exit 3'; /bin/true after",
                    before="/bin/true before;")


def explain(*words, **popen):
    status, out, errors = run("explain", *words, **popen)
    check(all(c >= " " or c == "\n" for c in out), f"control characters in {out!r}")
    return status, out, errors


def told(*words, **popen):
    status, out, errors = explain(*words, **popen)
    equal((status, errors), (0, ""), f"status and errors of explain {words}")
    return out


def unfolded(text):
    return " ".join(text.split())


def picture(path):
    with open(path, "rb") as file:
        data = file.read()
    tree = xml.fromstring(data)
    equal(tree.tag, SVG + "svg", "the root")
    for element in tree.iter():
        check(element.tag.startswith(SVG) and element.tag[len(SVG):] in
              {"svg", "g", "rect", "path", "text", "title", "desc", "style"}, element.tag)
        for name, value in element.attrib.items():
            check(not name.startswith("on") and "href" not in name and "nan" not in value and "inf" not in value,
                  (name, value))
    check(b"@import" not in data and b"url(" not in data, "it refers to something")
    return tree


def texts(tree):
    return ["".join(t.itertext()) for t in tree.iter(SVG + "text")]


# --- text ----------------------------------------------------------------------------------------


@test("without --alert the noted alerts are listed, numbered, a line each")
def the_list():
    lines = told(web().path).splitlines()
    equal(len(lines), 2, "lines")
    for number, line in enumerate(lines, 1):
        check(re.match(rf" +{number}  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  high     shell-under \(pid \d+\): "
                       r"runs victim -c ", line), line)


@test("an alert is told with its handler, its values, its line of ancestors, and what happened around it")
def the_text():
    out = told(web().path, "--alert", "1")
    head, lineage, timeline = out.split("\n\n")
    head = unfolded(head)
    check(head.startswith("alert 1: high shell-under: runs victim -c /bin/true one;"), head)
    check(", key k, tags attack.t1505.003 told by on.exec of shell-under, line 9, with " in head, head)
    check(f"server = {web().server} ({web().pid}), count = 3, odd = a\\x1b[31m\\x0ab<&>" in head, head)
    lineage = unfolded(lineage)
    check(re.match(r"\S*/victim: victim -c .*|victim -c .*", lineage), lineage)
    check(re.search(rf" \(pid \d+, uid 0\) was started by {web().server} -c .* \({web().pid}\), which ran before "
                    r"the recording began, below ", lineage), lineage)
    lines = timeline.splitlines()
    check(re.match(rf" +SECONDS +PID EVENT +of {web().server} \({web().pid}\) and what it started", lines[0]), lines[0])
    check(re.match(rf" +before +{web().pid} ran +{web().server} -c ", lines[1]), lines[1])
    alert = [line for line in lines if line.startswith(">")]
    equal(len(alert), 1, "marked lines")
    check(re.match(r"> +\+0\.0000 +\d+ exec +victim -c .*  <- alert$", alert[0]), alert[0])
    # the order of what happened, and that it is a tree
    at = [next(i for i, line in enumerate(lines) if re.search(what, line)) for what in (
        r" exec +/bin/true before$", r"<- alert$", r" exec +/bin/true one$", r" exec +victim -c 'kill -9 \$\$'$",
        r": SIGKILL after", r" victim: exit 3 after ", r" exec +/bin/true after$", rf" exit +{web().server}: exit 0 after ")]
    equal(at, sorted(at), "the order")
    indent = [len(re.match(r". +[-+\d.]+ +\d+ \w+ +", lines[i]).group(0)) for i in (at[0], at[1], at[2], at[6])]
    check(indent[1] == indent[0] == indent[3] == indent[2] - 2, indent)
    second = told(web().path, "-a", "2")
    check(re.search(r"started by victim -c .* \(\d+\), which was started by ", unfolded(second)), second)


@test("with scripts it is what these tell of the recording, which need not have told anything then")
def with_scripts():
    noted, now = told(web().path, "-a", "1"), told("-a", "1", web().path, web().script)
    equal(now, noted, "told by the same script")
    killed = 'exit: signal == 9 => mw.alert { severity = "low", text = "killed", event = ev }'
    out = told(web().path, "-a1", "-e", killed)
    check(out.startswith("alert 1: low -e: killed\n") and "told by on.exit of -e" in out, out)
    check(re.search(r"^> .*SIGKILL after .*<- alert$", out, re.M), out)
    quiet = scratch_file("quiet.lua", 'return require "moonwatch".script { name = "q", on = { exec = print } }\n')
    equal(explain(web().path, quiet), (1, "", f"moonwatch: these scripts tell no alert of {web().path}\n"), "no alerts")


@test("an alert about no process says so")
def no_process():
    script = scratch_file("timer.lua", """
local mw = require "moonwatch"
mw.after(0.0001, function() mw.alert { severity = "low", text = "time is up" } end)
return mw.script { name = "timer", on = {} }
""")
    out = told(web().path, script, "--alert", "1")
    check("told by a timer of timer, line 3\n\nIt is about no process: there is no lineage.\n" in out, out)
    svg = os.path.join(scratch(), "none.svg")
    status, _, errors = explain(web().path, script, "--alert", "1", "-q", "--svg", svg)
    equal((status, errors), (1, "moonwatch: It is about no process: there is nothing to draw\n"), "a picture of it")
    check(not os.path.exists(svg), "it was drawn")


@test("of a large family the line and what descends from it are told, the rest is counted")
def large_family():
    many = "for i in $(seq 80); do /bin/true many; done;"
    recorded = Recorded(f"victim -c '/bin/true one; /bin/true two; exit 3'; {many}", before=many)
    short, long = told(recorded.path, "-a1"), told(recorded.path, "-a1", "--all")
    lines = short.split("\n\n")[2].splitlines()
    left = re.search(r"^left out: (\d+) events of (\d+) other processes of the family; --all shows them$", short, re.M)
    check(left and 50 < len(lines) < 70, short)
    for text in (r"/bin/true one$", r"/bin/true two$", r"victim: exit 3 after"):
        check(re.search(text, short, re.M), text)
    check("left out" not in long and long.count("/bin/true many\n") == 160, long)
    check(len(long.splitlines()) - len(short.splitlines()) + 1 == int(left.group(1)), left.group(0))
    svg = os.path.join(scratch(), "large.svg")
    told(recorded.path, "-a1", "-q", "--svg", svg)
    drawn = texts(picture(svg))
    check(any(re.match(r"\d+ more processes of the family are not drawn$", t) for t in drawn), drawn[-3:])
    check("/bin/true one" in drawn and "/bin/true two" in drawn and 20 < drawn.count("/bin/true many") <= 24, drawn)


# --- pictures ------------------------------------------------------------------------------------


@test("the picture is SVG that needs nothing but itself: a row for each process, the alert, how they ended")
def the_picture():
    svg = os.path.join(scratch(), "web.svg")
    out = told(web().path, "--alert", "1", "--svg", svg)
    equal(out, told(web().path, "--alert", "1"), "the text beside it")
    tree = picture(svg)
    drawn = texts(tree)
    for text in ("high", "shell-under", "/bin/true before", "/bin/true one", "/bin/true after", "exit 3", "SIGKILL",
                 str(web().pid)):
        check(text in drawn, f"{text} in {drawn}")
    check(any(t.startswith(f"{web().server} -c ") and t.endswith("…") for t in drawn), f"the server, cut, in {drawn}")
    titles = ["".join(t.itertext()) for t in tree.iter(SVG + "title")]
    whole = r"pid \d+, uid 0\nvictim -c '/bin/true one; .*\nexe .*/victim\ncwd .*\nbegan at .*\nexit 3 at \+"
    check(any(re.match(whole, t) for t in titles), titles)
    check(any(re.match(r"\+\d+ (µs|ms) exec: /bin/true one$", re.sub(r"\.\d+", "", t)) for t in titles), titles)
    check("prefers-color-scheme:dark" in "".join(tree.find(SVG + "style").itertext()), "no dark theme")
    desc = unfolded("".join(tree.find(SVG + "desc").itertext()))
    check(f"was started by {web().server} -c" in desc, desc)
    with open(svg) as file:
        equal(told(web().path, "--alert", "1", "--svg", "-"), file.read(), "on standard output")
    equal(told(web().path, "-a1", "-q"), "", "quiet")


@test("what processes call themselves, and what a script says of it, stays text on the terminal and in the picture")
def hostile():
    words = [b"</title></svg><script>alert(1)</script>", b"\x1b]0;title\x07\x1b[2J", b"\xff\xfe\xc3\x28", b"\"'&<>]]>",
             b"\xe2\x80\xaertl", b"a\nb\rc\td", b"x" * 9000, "漢字".encode() * 300]
    recorded = Recorded('victim -c "exit 3" "$@"', words=[b"zero", *words])
    out = told(recorded.path, "--alert", "1")
    for text in ("</title></svg><script>alert(1)</script>", "\\x1b]0;title\\x07\\x1b[2J", "\\xff\\xfe\\xc3(",
                 "\\u{202e}rtl", "a\\x0ab\\x0dc\\x09d", "x" * 2000, "漢字"):
        check(text in out, f"{text[:40]} in {out[:3000]}")
    told(recorded.path)
    svg = os.path.join(scratch(), "hostile.svg")
    told(recorded.path, "--alert", "1", "-q", "--svg", svg)
    tree = picture(svg)
    titles = ["".join(t.itertext()) for t in tree.iter(SVG + "title")]
    check(any("</title></svg><script>alert(1)</script>" in t and "\\x1b]0;title" in t for t in titles), titles)
    with open(svg, encoding="utf-8") as file:
        text = file.read()
    check(not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ufffe\uffff]", text), "it holds what steers")
    note(f"{len(text)} bytes of SVG")


# --- what it asks for ----------------------------------------------------------------------------


@test("it needs no privilege, and reads a recording that lies anywhere")
def unprivileged():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = shutil.copy(web().path, os.path.join(directory, "copy.mwr"))
        os.chmod(path, 0o644)
        equal(told(path, "-a1", user=65534, group=65534, extra_groups=[]), told(web().path, "-a1"), "as nobody")


@test("what is wrong is one sentence, with the status that the help promises")
def errors():
    path = web().path
    none = os.path.join(scratch(), "none.mwr")
    empty = Recorded("true")
    garbage = scratch_file("garbage.mwr", os.urandom(5000))
    with open(path, "rb") as file:
        torn = scratch_file("torn.mwr", file.read()[:-40])
    broken = scratch_file("explain-broken.lua", "local x = = 1\n")
    cases = [
        ([], 2, "no recording is named; see `moonwatch explain --help`"),
        ([path, "--alert", "0"], 2, "--alert takes a number of the list, from 1 on, not '0'"),
        ([path, "--alert", "x"], 2, "--alert takes a number of the list"),
        ([path, "--svg", "x.svg"], 2, "--svg draws one alert: --alert says which"),
        ([path, "--alert", "3"], 1, f"{path} holds 2 alerts: there is no number 3"),
        ([path, "--alert", "3", web().script], 1, f"these scripts tell 2 alerts of {path}: there is no number 3"),
        ([empty.path], 1, f"{empty.path} holds no alert; scripts can be named behind it"),
        ([empty.path, "--alert", "1"], 1, f"{empty.path} holds no alert; scripts can be named behind it"),
        ([none], 2, none),
        ([garbage], 2, garbage),
        ([scratch()], 2, scratch()),
        ([path, broken], 3, f"{broken}:1: "),
        ([path, "-q", "-a1", "--svg", "/no/such/dir.svg"], 1, "cannot write /no/such/dir.svg: No such file"),
        ([path, "-q", "-a1", "--svg", "/dev/full"], 1, "cannot write /dev/full: No space left"),
    ]
    for words, wanted, text in cases:
        status, out, errors = explain(*words)
        equal((status, out), (wanted, ""), f"status and output of {words}, which said {errors!r}")
        check(errors.startswith("moonwatch: " if text != f"{broken}:1: " else "") and text in errors, (words, errors))
        check(errors.count("\n") == 1 or wanted == 3, errors)
    equal(explain(torn)[0], 0, "status of one that was not closed in order")
    status, out, errors = run("help", "explain")
    equal((status, errors), (0, ""), "help")
    check(max(map(len, out.splitlines())) <= 80 and "--alert N" in out, out)
    equal(run("explain", "--nonsense")[0], 2, "an option that is none")


if __name__ == "__main__":
    main()
