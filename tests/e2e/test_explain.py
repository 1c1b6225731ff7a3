"""test_explain.py - how an alert came about, from a recording: as text and as a picture."""
import os
import re
import subprocess
import xml.etree.ElementTree as xml

from mwtest import ROOT, check, equal, helper, main, run, scratch, scratch_file, test, unique

INCIDENT = os.path.join(ROOT, "examples", "incident")
FILE, SCRIPT = os.path.join(INCIDENT, "incident.mwr"), os.path.join(INCIDENT, "web-shell.lua")
TAG = f"explain-{os.getpid()}"


@test("without a number it lists the alerts")
def listed():
    status, out, errors = run("explain", FILE, SCRIPT)
    equal((status, errors), (0, ""), "explain")
    equal(len(out.splitlines()), 4, "alerts")
    check(re.match(r" +1  2026-11-25 [\d:]+  medium +web-shell: runs a shell", out), out)


@test("an alert is told with its handler, its values, its ancestors and what the family did")
def told():
    status, out, errors = run("explain", "--alert", "3", FILE, SCRIPT)
    equal((status, errors), (0, ""), "explain")
    text = " ".join(out.split())
    for part in ("critical, web-shell: starts what was written", "told by on.exec of web-shell, line ",
                 "server = nginx", "/tmp/.u --connect 198.51.100.7:443 (pid ", "was started by",
                 "which ran before the recording began", "crontab -"):
        check(part in text, f"'{part}' is not in {out}")
    marked = [line for line in out.splitlines() if line.startswith(">")]
    equal(len(marked), 1, f"lines that are marked: {marked}")
    check("/tmp/.u" in marked[0] and "+0.0000" in marked[0], marked)


@test("the picture is a page of its own, whole XML, with every process of the story")
def picture():
    path = os.path.join(scratch(), unique("p") + ".svg")
    status, out, errors = run("explain", "-q", "--alert", "3", "--svg", path, FILE, SCRIPT)
    equal((status, out, errors), (0, "", ""), "explain")
    root = xml.parse(path).getroot()
    check(root.tag.endswith("svg"), root.tag)
    text = "".join(root.itertext())
    for part in ("/tmp/.u --connect", "crontab -", "starts what was written"):
        check(part in text, part)
    with open(path) as file:
        source = file.read()
    check("<script" not in source and not re.search(r"(href|src)=.http|url\(http|@import", source), "it needs nothing else")


@test("hostile names steer neither the terminal nor the picture")
def hostile():
    script = scratch_file("h.lua", """local mw = require "moonwatch"
return mw.script { name = "h", on = { exec = function(ev)
  if ev.args and ev.args[2] == "TAG" then mw.alert { severity = "high", text = ev.args[3], event = ev } end
end } }""".replace("TAG", TAG))
    path, picture_ = (os.path.join(scratch(), unique("h") + end) for end in (".mwr", ".svg"))
    watch = subprocess.Popen([os.environ.get("MOONWATCH") or os.path.join(ROOT, "build", "moonwatch"), "record", "-q", "-o", path,
                              "--for", "1s", script],
                             stdout=subprocess.DEVNULL, env=dict(os.environ, MOONWATCH_CONTROL="none"))
    evil = b"\x1b[31m</text><script>alert(1)</script>&\xff\x01\n]]>\xef\xbf\xbf"
    while watch.poll() is None:
        subprocess.run([b"act", TAG.encode(), evil, b"exit:0"], executable=helper("act"), check=True)
    status, out, errors = run("explain", "--alert", "1", "--svg", picture_, path)
    equal((status, errors), (0, ""), "explain")
    check("\x1b" not in out and "\x01" not in out, out)
    text = "".join(xml.parse(picture_).getroot().itertext())
    check("<script>alert(1)</script>" in text, f"as text: {text}")


@test("what cannot be explained is said in a sentence")
def refused():
    for words, code, said in ((["explain"], 2, "no recording"), (["explain", "--alert", "9", FILE, SCRIPT], 1, "9"),
                              (["explain", "--alert", "x", FILE], 2, "--alert"), (["explain", "--alert", "1", FILE], 1, "no alert"),
                              (["explain", "/nonexistent"], 2, "No such file"),
                              (["explain", "--alert", "1", "--svg", "/nonexistent/x.svg", FILE, SCRIPT], 1, "x.svg")):
        status, _, errors = run(*words)
        check(status == code and said in errors, f"{words}: {status}, {errors}")


main()
