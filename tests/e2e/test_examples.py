"""Every script of examples/, run as it is: what it is for happens, and it tells of it.

A script without a row in CASES fails the last test, so that no example goes untested."""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from mwtest import DEADLINE, ROOT, Watch, check, helper, main, scratch, test


def shell(*words):
    subprocess.run(["sh", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def run_copy(name, *args):
    """A harmless program under another name."""
    path = os.path.join(scratch(), name)
    if not os.path.exists(path):
        shutil.copy("/bin/bash", path)
    subprocess.run([path, *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def listen():
    code = ("import socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); "
            "print(s.getsockname()[1], flush=True); sys.stdin.read()")
    server = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    port = server.stdout.readline().strip()
    return server, port


def become_root():
    # a child that is nobody with a saved uid of 0, and takes root back
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 0)
        os.setresuid(0, 0, 0)
        os._exit(0)
    os.waitpid(pid, 0)


# script -> what to do, what a line of the output must contain
CASES = {
    "examples/hello.lua": (lambda: shell("-c", ": hello-example"), b"sh -c : hello-example"),
    "examples/exec-from-tmp.lua": (lambda: run_copy("from-tmp", "-c", ":"), b"exec-from-tmp: runs "),
    "examples/shell-under-web-server.lua": (
        lambda: run_copy("nginx", "-c", "sh -c ':; :'; :"), b"shell-under-web-server: "),
    "examples/slow-commands.lua": (lambda: shell("-c", "sleep 1.1; : slow"), b"s  sh -c sleep 1.1; : slow"),
    "examples/top-commands.lua": (lambda: shell("-c", ":"), b"  sh"),
    "examples/failed-commands.lua": (lambda: shell("-c", "exit 41"), b"exit 41: sh -c exit 41 (started by "),
    "examples/became-root.lua": (become_root, b"user id 65534 became root"),
    "examples/enrich.lua": (lambda: shell("-c", ": enriched"), b": enriched"),
}


def claim(path, act, wanted):
    @test(f"{path} tells of what it is for")
    def _():
        with Watch("--text", scripts=[os.path.join(ROOT, path)]) as w:
            act()
            if path.endswith("top-commands.lua"):  # tells at the end
                w.stop()
            w.wait_line(lambda line: wanted in line, wanted.decode())
            check(w.stop() == 0, "it did not end with status 0")
            check(", 0 errors" in w.stderr() and "error" not in w.stderr().replace(", 0 errors", ""),
                  w.stderr())


for path, (act, wanted) in CASES.items():
    claim(path, act, wanted)


@test("examples/listeners.lua tells on which port a new server listens")
def listeners():
    with Watch("--text", scripts=[os.path.join(ROOT, "examples/listeners.lua")]) as w:
        server, port = listen()
        try:
            w.wait_line(lambda line: b"listens on 127.0.0.1 port " + port in line, "the port")
        finally:
            server.communicate()


@test("examples/storm.lua tells sums of what came while it could not run")
def storm():
    path = os.path.join(ROOT, "examples/storm.lua")
    with Watch("--text", "--ring", "512k", scripts=[path]) as w:
        worker = w.worker()
        os.kill(worker, signal.SIGSTOP)
        subprocess.run([helper("storm"), "170", helper("act"), "exit:0"], check=True)
        os.kill(worker, signal.SIGCONT)
        w.wait_line(lambda line: line == b"storm: begin\n", "the begin")
        w.wait_line(lambda line: line.startswith(b"storm: ") and b"1 distinct comm" in line, "the sum")
        w.wait_line(lambda line: line == b"storm: end\n", "the end")


def samples(text):
    """Prometheus' text format, by its rules: {(name, labels): value}, each after its TYPE."""
    typed, found = {}, {}
    check(text.endswith("\n"), "the last line has no newline")
    for line in text.splitlines():
        if line.startswith("# "):
            word, name, rest = line[2:].split(" ", 2)
            check(word in ("HELP", "TYPE"), f"a comment: {line}")
            if word == "TYPE":
                check(rest in ("counter", "gauge") and name not in typed, f"type: {line}")
                typed[name] = rest
            continue
        parsed = re.fullmatch(r'([a-z_]+)(\{[a-z]+="[^"\\\n]*"\})? (-?[0-9.e+-]+)', line)
        check(parsed, f"no sample: {line}")
        check(parsed[1] in typed, f"no TYPE before {line}")
        check((typed[parsed[1]] == "counter") == parsed[1].endswith("_total"), f"name: {line}")
        check((parsed[1], parsed[2]) not in found, f"twice: {line}")
        found[parsed[1], parsed[2]] = float(parsed[3])
    return found


@test("examples/metrics.lua keeps a file that Prometheus can read, with figures that grow")
def metrics():
    directory = os.path.join(scratch(), "metrics")
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    path = os.path.join(directory, "moonwatch.prom")
    env = {"MOONWATCH_METRICS": path, "MOONWATCH_METRICS_EVERY": "20ms"}
    with Watch("--text", trusted=[os.path.join(ROOT, "examples/metrics.lua")], env=env) as w:
        until = time.monotonic() + DEADLINE
        while not os.path.exists(path):
            check(time.monotonic() < until, f"no file: {w.stderr()}")
            time.sleep(0.005)
        before = samples(open(path).read())
        for _ in range(20):
            shell("-c", ":")
        while True:  # each look finds a whole file
            after = samples(open(path).read())
            if after["moonwatch_execs_total", None] >= before["moonwatch_execs_total", None] + 20:
                break
            check(time.monotonic() < until, f"the figures do not grow: {after}")
        check(after["moonwatch_events_total", None] >= before["moonwatch_events_total", None] + 60, "events")
        check(w.stop() == 0, "status")
        last = samples(open(path).read())
        summary = re.search(r"moonwatch: ([\d,]+) events .* ([\d,]+) lost", w.stderr())
        check(last["moonwatch_events_total", None] == int(summary[1].replace(",", "")), w.stderr())
        check(last["moonwatch_lost_events_total", None] == int(summary[2].replace(",", "")), w.stderr())
        for field in "exe", "args", "comm":
            check(0.9 <= last["moonwatch_named_ratio", f'{{field="{field}"}}'] <= 1, f"{field}: {last}")
        check(os.listdir(directory) == ["moonwatch.prom"], f"left behind: {os.listdir(directory)}")


@test("shell-under-web-server is silent about shells elsewhere")
def near_miss():
    path = os.path.join(ROOT, "examples/shell-under-web-server.lua")
    with Watch("--text", scripts=[path]) as w:
        shell("-c", ":; :")
        w.marker()
        check(not any(b"ALERT" in line for line in w.lines), f"alerted: {w.lines}")


@test("every script has a test here")
def all_have_tests():
    found = {os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "examples", "*.lua"))}
    untested = found - set(CASES) - {"examples/listeners.lua", "examples/storm.lua", "examples/metrics.lua"}
    check(not untested, f"no test for {sorted(untested)}")


if __name__ == "__main__":
    main()
