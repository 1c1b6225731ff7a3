"""test_bench.py - the benchmark works: its smallest form, beside a peer that always fails."""
import os
import re
import subprocess
import xml.etree.ElementTree as xml

from mwtest import MOONWATCH, ROOT, check, equal, main, note, scratch, test

TABLES = ("CPU time for one process lifecycle", "Short processes shown", "As many processes",
          "From the kernel's stamp", "Resident memory", "Slowdown", "Recording", "CPU with little to do", "Targets")
ran = {}


def bench():
    """Run it once for all tests; no figure of it is looked at, for the machine is not ours alone."""
    if not ran:
        peers = os.path.join(scratch(), "peers")
        os.makedirs(peers)
        with open(os.path.join(peers, "extrace"), "w") as f:
            f.write("#!/bin/sh\necho no luck >&2\nexit 7\n")
        os.chmod(f.name, 0o755)
        env = dict(os.environ, MOONWATCH=MOONWATCH, PATH=peers + ":" + os.environ["PATH"])
        done = subprocess.run(["timeout", "55", os.path.join(ROOT, "tests/bench/run"), "--smoke", "--peers", "extrace",
                               "--out", scratch()], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        ran.update(status=done.returncode, out=done.stdout, err=done.stderr)
        for name in "bench.md", "bench.svg":
            with open(os.path.join(scratch(), name)) as f:
                ran[name] = f.read()
    return ran


@test("the benchmark's smallest form prints every table")
def tables():
    got = bench()
    equal(got["status"], 0, "status; it says: " + got["err"])
    for title in TABLES:
        check(title in got["out"], f"no table '{title}' in: {got['out']}")
    check(not re.search(r"^moonwatch.* failed \(", got["err"], re.M), f"a measurement failed: {got['err']}")
    note(re.search(r"took .*", got["out"]).group(0))


@test("each row of a table in bench.md has as many cells as its head")
def markdown():
    for table in re.findall(r"(?:^\|.*\n)+", bench()["bench.md"], re.M):
        head, *rows = table.splitlines()
        check(len(rows) >= 2, f"a table without rows: {table}")
        for row in rows:
            equal(row.count("|"), head.count("|"), f"bars in '{row}'")


@test("each target has a verdict")
def targets():
    table = bench()["bench.md"].split("## Targets")[1]
    rows = re.findall(r"^\| (\w.*) \| (.*) \| (.*) \| (.*) \|$", table, re.M)
    equal(len(rows), 17, "rows")
    for row in rows:
        check(re.match(r"met$|missed$|not measured: \w", row[3]), f"verdict of {row}")
    short = next(row for row in rows if row[0] == "short processes with all arguments")
    check(short[3].startswith("not measured"), f"a short form judges a long target: {short}")


@test("the plot is an SVG with a bar, or a dash, of every tool in both panels")
def plot():
    space = "{http://www.w3.org/2000/svg}"
    root = xml.fromstring(bench()["bench.svg"])
    equal(root.tag, space + "svg", "root")
    texts = [t.text for t in root.iter(space + "text")]
    tools = "moonwatch", "moonwatch, no tap", "extrace (execs only)"
    for name in tools[0], tools[2]:
        check(name in texts, f"no '{name}' among {texts}")
    rows = len([t for t in texts if t in tools])
    bars = [r for r in root.iter(space + "rect") if r.get("class") in ("own", "peer")]
    equal(len(bars) + texts.count("–"), 2 * rows, "bars and dashes")
    for bar in bars:
        check(float(bar.get("x")) + float(bar.get("width")) <= 800, f"beyond the edge: {bar.attrib}")


@test("a tool that fails is named, and the others go on")
def failing():
    got = bench()
    failed = re.findall(r"extrace \(execs only\) failed \((.*?)\): ended with 7: no luck", got["out"])
    equal(failed, ["storm", "arguments"], "phases in which it failed")
    check(re.search(r"^  moonwatch +\d", got["out"], re.M), f"no figures of moonwatch in: {got['out']}")


if __name__ == "__main__":
    main()
