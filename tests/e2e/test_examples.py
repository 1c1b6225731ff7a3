"""Every script of examples/ and scripts/, run as it is: what it is for happens, and it tells of it.

A script without a row in CASES fails the last test, so that no example goes untested."""
import glob
import os
import shutil
import signal
import subprocess
import sys

from mwtest import ROOT, Watch, check, helper, main, scratch, test


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
    "scripts/who-ran-what.lua": (
        lambda: subprocess.run(["script", "-qec", "sh -c ': at-a-terminal; :'", "/dev/null"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL),
        b": at-a-terminal; :"),
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


@test("shell-under-web-server is silent about shells elsewhere")
def near_miss():
    path = os.path.join(ROOT, "examples/shell-under-web-server.lua")
    with Watch("--text", scripts=[path]) as w:
        shell("-c", ":; :")
        w.marker()
        check(not any(b"ALERT" in line for line in w.lines), f"alerted: {w.lines}")


@test("every script has a test here")
def all_have_tests():
    found = {os.path.relpath(p, ROOT) for d in ("examples", "scripts")
             for p in glob.glob(os.path.join(ROOT, d, "*.lua"))}
    untested = found - set(CASES) - {"examples/listeners.lua", "examples/storm.lua"}
    check(not untested, f"no test for {sorted(untested)}")


if __name__ == "__main__":
    main()
