"""test_sinks.py - what scripts send to outputs of their own arrives whole, in order and once, or is
counted and told; whatever the other end does, the watch goes on."""
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time

from mwtest import DEADLINE, MOONWATCH, Failed, Skip, Watch, check, equal, helper, main, proc_status, run, \
    scratch, scratch_file, test, unique

PROBE = f"moonwatch-e2e-sink-{os.getpid()}"  # another run of these tests has its own

# Sends numbered records when a process asks for it, and tells how the sink is.
SCRIPT = """
local mw = require "moonwatch"
local s = SINK
return mw.script { name = "probe", on = { exec = function(ev)
  local args = ev.args
  if not args or args[2] ~= "PROBE" then
    return
  elseif args[3] == "stats" then
    local stats = s:stats()
    stats.asked = args[4]
    mw.emit(stats)
  else
    for n = tonumber(args[3]), tonumber(args[4]) do
      s:emit { n = n, pad = ("x"):rep(tonumber(args[5])) }
    end
  end
end } }
"""


def script(sink):
    return SCRIPT.replace("SINK", sink).replace("PROBE", PROBE)


def ask(*words):
    subprocess.run([helper("act"), PROBE, *map(str, words), "exit:0"], check=True)


def burst(first, last, pad=20):
    ask(first, last, pad)


def stats(w):
    name = unique("stats")
    ask("stats", name)
    return w.wait_event(lambda e: e.get("asked") == name, "the sink's figures")


def until(ready, what, seconds=DEADLINE):
    end = time.monotonic() + seconds
    while True:
        result = ready()
        if result:
            return result
        if time.monotonic() > end:
            raise Failed(f"{what} did not come within {seconds} s")
        time.sleep(0.01)


def out_dir():
    path = os.path.join(scratch(), unique("out"))
    os.mkdir(path)
    return path


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def numbers(text):
    """Of whole lines; a torn one is an error of its own."""
    check(not text or text.endswith(b"\n"), f"the last line is torn: {text[-80:]}")
    return [json.loads(line)["n"] for line in text.splitlines()]


def told_drops(w):
    return sum(int(n) for n in re.findall(r"(\d+) dropped \(queue full\)", w.stderr()))


def wait_written(path, last, others=()):
    """Until record number `last` is in the file; returns all that is in it."""
    mark = b'"n":%d,' % last
    until(lambda: mark in read(path), f"record {last} in {os.path.basename(path)}")
    return numbers(read(path))


class Gate:
    """A child that reads nothing until it is let, and then writes what it reads into a file."""

    def __init__(self):
        self.dir = os.path.join(scratch(), unique("gate"))
        os.mkdir(self.dir)
        os.chmod(self.dir, 0o777)
        self.out = os.path.join(self.dir, "out")

    def sink(self, options=""):
        command = f"while [ ! -e {self.dir}/open ]; do sleep 0.02; done; exec cat >>{self.out}"
        return f'mw.sink.exec {{ argv = {{ "sh", "-c", "{command}" }}{options} }}'

    def open(self):
        with open(os.path.join(self.dir, "open"), "w"):
            pass


# --- files -----------------------------------------------------------------------------------------


@test("a file sink gets the lines of the main output, labels and all")
def same_lines():
    out = out_dir()
    text = """
    local mw = require "moonwatch"
    local s = mw.sink.file { path = "events.jsonl" }
    return mw.script { name = "same", on = { exec = function(ev)
      if ev.args and ev.args[2] == "PROBE" then
        ev.colour = "green"
        mw.emit(ev)
        mw.emit(ev, s)
        s:emit(ev)
        mw.alert { severity = "high", text = "look", event = ev, key = "k", tags = { "t" } }
        mw.alert { severity = "high", text = "look", event = ev, key = "k", tags = { "t" }, sink = { s } }
      end
    end } }
    """
    text = text.replace("PROBE", PROBE)
    for single in ((), ("--single",)):
        with Watch("--json", "--output-dir", out, *single, scripts=[text]) as w:
            ask("x")
            w.marker()
            lines = [line for line in w.lines if PROBE.encode() in line]
            path = os.path.join(out, "events.jsonl")
            until(lambda: read(path).count(b"\n") == 3, "three lines")
            equal(len(lines), 2, "lines of the main output")
            event, alert = lines
            equal(read(path), event + event + alert, "the file")
            check(b'"colour":"green"' in event and b'"kind":"alert"' in alert, "labels and alert")
            equal(w.stop(), 0, "status")
        os.unlink(path)


@contextlib.contextmanager
def small_disk(kib):
    path = out_dir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", path],
                          stderr=subprocess.PIPE)
    if done.returncode:
        raise Skip("no small disk can be mounted here: " + done.stderr.decode().strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(disk):
    with open(os.path.join(disk, "filler"), "wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"x" * 512):
                pass


@test("a full disk costs nothing that finds room in the queue, and is told once")
def full_disk():
    with small_disk(256) as disk:
        path = os.path.join(disk, "a.jsonl")
        with Watch("--json", "--output-dir", disk, scripts=[script('mw.sink.file { path = "a.jsonl" }')]) as w:
            burst(1, 10)
            wait_written(path, 10)
            fill(disk)
            burst(11, 600)
            w.wait_error("sink file a.jsonl: No space left on device; records wait in the queue")
            w.marker()
            check(stats(w)["queued"] > 0, "records wait")
            os.unlink(os.path.join(disk, "filler"))
            equal(wait_written(path, 600), list(range(1, 601)), "records in the file")
            w.wait_error("sink file a.jsonl: it takes records again")
            equal(w.stderr().count("No space left"), 1, "how often it was told")
            equal(stats(w)["dropped"], 0, "dropped")
            equal(w.stop(), 0, "status")


@test("what a full disk and a full queue drop is counted and told to the record")
def full_disk_and_queue():
    with small_disk(64) as disk:
        path = os.path.join(disk, "a.jsonl")
        sink = 'mw.sink.file { path = "a.jsonl", queue = "64k", full = "drop_newest" }'
        with Watch("--json", "--output-dir", disk, scripts=[script(sink)]) as w:
            fill(disk)
            burst(1, 1000, 200)
            w.marker()
            dropped = stats(w)["dropped"]
            check(dropped > 500, f"only {dropped} were dropped")
            w.wait(lambda: told_drops(w) == dropped, "that all drops are told")
            burst(1001, 1010, 200)
            dropped = until(lambda: stats(w)["dropped"] == dropped + 10 and dropped + 10, "ten more")
            w.wait(lambda: told_drops(w) == dropped, "that these are told")
            subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
            found = wait_written(path, 1000 - (dropped - 10))
            equal(found, list(range(1, 1001 - (dropped - 10))), "the oldest are kept")


def move_away(path):
    os.rename(path, path + ".old")


def copy_and_truncate(path):
    with open(path + ".old", "wb") as file:
        file.write(read(path))
    os.truncate(path, 0)


@test("an outside tool may rotate a file by renaming it, by copying it, or delete it")
def outside_rotation():
    out = out_dir()
    path = os.path.join(out, "a.jsonl")
    with Watch("--json", "--output-dir", out, scripts=[script('mw.sink.file { path = "a.jsonl" }')]) as w:
        first = 1
        for rotate in (move_away, copy_and_truncate, move_away):
            burst(first, first + 99)
            wait_written(path, first + 99)
            rotate(path)
            burst(first + 100, first + 199)
            equal(wait_written(path, first + 199), list(range(first + 100, first + 200)),
                  f"after {rotate.__name__}")
            found = numbers(read(path + ".old"))
            equal(found[-100:], list(range(first, first + 100)), f"put aside by {rotate.__name__}")
            os.unlink(path + ".old")
            first += 200
        os.unlink(path)
        burst(first, first)
        equal(wait_written(path, first), [first], "after it was deleted")
        equal(w.stderr().count("sink"), 0, "complaints: " + w.stderr())


@test("a directory that was removed costs nothing: what was meant for it is written when it is there again")
def removed_directory():
    out = out_dir()
    logs, path = os.path.join(out, "logs"), os.path.join(out, "logs", "a.jsonl")
    os.mkdir(logs)
    with Watch("--json", "--output-dir", out, scripts=[script('mw.sink.file { path = "logs/a.jsonl" }')]) as w:
        burst(1, 10)
        wait_written(path, 10)
        shutil.rmtree(logs)
        burst(11, 20)
        w.wait_error("cannot reach logs/a.jsonl: No such file or directory; records wait in the queue")
        burst(21, 30)
        w.marker()
        until(lambda: stats(w)["queued"] == 20, "that all wait")
        os.mkdir(logs)
        equal(wait_written(path, 30), list(range(11, 31)), "records in the new directory")
        w.wait_error("sink file logs/a.jsonl: it takes records again")
        equal(w.stderr().count("sink file"), 2, "how often it was told")
        equal(stats(w)["sent"], 30, "sent")


@test("a file that is as large as it may be is put aside between two records")
def own_rotation():
    out = out_dir()
    sink = 'mw.sink.file { path = "a.jsonl", rotate = "4k", keep = 2 }'
    with Watch("--json", "--output-dir", out, scripts=[script(sink)]) as w:
        for first in range(1, 1000, 10):
            burst(first, first + 9, 100)
        path = os.path.join(out, "a.jsonl")
        wait_written(path, 1000)
        equal(sorted(os.listdir(out)), ["a.jsonl", "a.jsonl.1", "a.jsonl.2"], "files")
        found = [n for name in (".2", ".1", "") for n in numbers(read(path + name))]
        equal(found, list(range(found[0], 1001)), "records in the files that are left")
        for name in (".1", ".2"):
            size = os.stat(path + name).st_size
            check(4096 <= size < 4096 + 64 * 1024, f"{name} has {size} bytes")
        equal(stats(w)["dropped"], 0, "dropped")


# --- sockets ----------------------------------------------------------------------------------------


class Server:
    """Listens at a path of its own."""

    def __init__(self, path, kind=socket.SOCK_STREAM):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX, kind)
        self.socket.bind(path)
        self.socket.settimeout(DEADLINE)
        if kind == socket.SOCK_STREAM:
            self.socket.listen(5)

    def read_until(self, last):
        """Accept one and read up to record number `last`; hang up."""
        got = b""
        peer, _ = self.socket.accept()
        with peer:
            peer.settimeout(DEADLINE)
            while b'"n":%d,' % last not in got or not got.endswith(b"\n"):
                more = peer.recv(65536)
                if not more:
                    raise Failed(f"the end came before record {last}: {got[-200:]}")
                got += more
        return numbers(got)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@test("a reader that vanished is found again, and what it missed comes to it")
def vanished_reader():
    out = out_dir()
    path = os.path.join(out, "sock")
    with Server(path) as server, \
            Watch("--json", "--output-dir", out, scripts=[script('mw.sink.unix { path = "sock" }')]) as w:
        burst(1, 100)
        equal(server.read_until(100), list(range(1, 101)), "records at first")
        server.socket.close()
        os.unlink(path)
        burst(101, 300)
        w.wait_error("records wait in the queue")
        w.marker()
        with Server(path) as again:
            equal(again.read_until(300), list(range(101, 301)), "records for the next one")
        check(stats(w)["dropped"] == 0, "none is dropped")
        w.wait_error("sink unix sock: it takes records again")


@test("a sink may be opened before anybody listens")
def early():
    out = out_dir()
    with Watch("--json", "--output-dir", out, scripts=[script('mw.sink.unix { path = "sock" }')]) as w:
        w.wait_error("sink unix sock: cannot reach sock: No such file or directory; records wait")
        burst(1, 10)
        with Server(os.path.join(out, "sock")) as server:
            equal(server.read_until(10), list(range(1, 11)), "records")


@test("syslog and journald get what they can read, and nothing that a process made up")
def logs():
    out = out_dir()
    text = """
    local mw = require "moonwatch"
    local log = mw.sink.syslog { path = "log" }
    local journal = mw.sink.journald { path = "journal" }
    return mw.script { name = "logs", on = { exec = function(ev)
      if ev.args and ev.args[2] == "PROBE" then
        mw.alert { severity = "critical", event = ev, sink = { log, journal } }
      end
    end } }
    """
    with Server(os.path.join(out, "log"), socket.SOCK_DGRAM) as log, \
            Server(os.path.join(out, "journal"), socket.SOCK_DGRAM) as journal, \
            Watch("--output-dir", out, scripts=[text.replace("PROBE", PROBE)]):
        ask("a\nPRIORITY=0\n", "\x1b[2J")
        line = log.socket.recv(65536).decode()
        check(re.fullmatch(r"<82>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z \S+ moonwatch \d+ logs - logs: [^\n\x1b]*"
                           r"a\\x0aPRIORITY=0\\x0a' '\\x1b\[2J' exit:0", line), f"the line is {line!r}")
        fields = parse_journal(journal.socket.recv(65536))
        equal(fields[b"PRIORITY"], [b"2"], "PRIORITY")
        equal(fields[b"SYSLOG_IDENTIFIER"], [b"moonwatch"], "SYSLOG_IDENTIFIER")
        equal(fields[b"MOONWATCH_SCRIPT"], [b"logs"], "MOONWATCH_SCRIPT")
        check(fields[b"MOONWATCH_CMDLINE"][0].endswith(PROBE.encode() + b" a\nPRIORITY=0\n \x1b[2J exit:0"),
              f"MOONWATCH_CMDLINE is {fields[b'MOONWATCH_CMDLINE']}")


def parse_journal(datagram):
    fields, rest = {}, datagram
    while rest:
        name, _, rest = rest.partition(b"\n")
        if b"=" in name:
            name, _, value = name.partition(b"=")
        else:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8:8 + size], rest[9 + size:]
        fields.setdefault(name, []).append(value)
    return fields


# --- pipes ------------------------------------------------------------------------------------------


@test("a slow reader costs the oldest records, each counted, and holds nobody up")
def slow_reader():
    gate = Gate()
    with Watch("--json", "--allow-exec", scripts=[script(gate.sink(', queue = "64k"'))]) as w:
        for first in range(1, 2000, 100):
            burst(first, first + 99, 100)
        w.marker()
        figures = stats(w)
        check(figures["dropped"] > 500 and figures["queued"] > 100, f"figures are {figures}")
        w.wait(lambda: told_drops(w) == figures["dropped"], "that all drops are told")
        gate.open()
        found = wait_written(gate.out, 2000)
        equal(2000 - len(found), figures["dropped"], "records that are missing")
        equal(found, sorted(set(found)), "order")
        gaps = sum(1 for a, b in zip(found, found[1:]) if b != a + 1)
        equal(gaps, 1, "places where records are missing")


@test("with a spool nothing is lost, and all comes back in order")
def spooled():
    gate, out = Gate(), out_dir()
    sink = gate.sink(', queue = "64k", full = "spool", spool = "4M"')
    with Watch("--json", "--allow-exec", "--output-dir", out, scripts=[script(sink)]) as w:
        for first in range(1, 5000, 500):
            burst(first, first + 499, 300)
        w.marker()
        figures = stats(w)
        check(figures["spooled"] > 3000 and figures["dropped"] == 0, f"figures are {figures}")
        equal(os.listdir(out), [], "names in the output directory")
        gate.open()
        equal(wait_written(gate.out, 5000), list(range(1, 5001)), "records")
        figures = until(lambda: (f := stats(w))["sent"] == 5000 and f, "that all are sent")
        equal([figures[k] for k in ("dropped", "queued", "spooled")], [0, 0, 0], "what is left")
        until(lambda: spool_sizes(w.pid, out) == [0], "the disk's room")


def spool_sizes(pid, place):
    """Of the files without a name below a directory that a process has open."""
    fds = f"/proc/{pid}/fd"
    return [os.stat(os.path.join(fds, fd)).st_size for fd in os.listdir(fds)
            if re.match(re.escape(place) + r".*\(deleted\)$", os.readlink(os.path.join(fds, fd)))]


@test("standard output as a sink waits in its queue for a reader of the pipe that sleeps")
def slow_stdout():
    reader, writer = os.pipe()
    out = out_dir()
    text = script('mw.sink.stdout { queue = "64k" }').replace("mw.emit(stats)", "f:emit(stats)").replace(
        "local s", 'local f = mw.sink.file { path = "stats" }\nlocal s')
    path = os.path.join(out, "stats")

    def figures():
        name = unique("stats")
        ask("stats", name)
        return until(lambda: next((f for line in read(path).splitlines(keepends=True) if line.endswith(b"\n")
                                   for f in [json.loads(line)] if f.get("asked") == name), None), "the figures")
    done = subprocess.Popen([MOONWATCH, "run", "-q", "--json", "--output-dir", out,
                             Watch._path(text)], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    try:
        until(lambda: os.path.exists(path), "the script")
        until(lambda: ask("stats", "x") or read(path), "the watch")
        for first in range(1, 2000, 100):
            burst(first, first + 99, 100)
        dropped = figures()["dropped"]  # the script goes on
        check(dropped > 500, f"{dropped} were dropped")
        got = b""
        while b'"n":2000,' not in got or not got.endswith(b"\n"):
            check(select.select([reader], [], [], DEADLINE)[0], f"nothing came after {got[-100:]}")
            got += os.read(reader, 65536)
        equal(2000 - len(numbers(got)), dropped, "records that are missing")
    finally:
        done.send_signal(signal.SIGINT)
        done.communicate(timeout=DEADLINE)
        os.close(reader)


# --- children ---------------------------------------------------------------------------------------


def child_of(parent, name, but=()):
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) not in but:
            status = proc_status(int(pid))
            if status.get("PPid") == str(parent) and status.get("Name") == name:
                return int(pid)
    return None


@test("a child has no privileges, and when it dies the next one reads on")
def child_dies():
    gate = Gate()
    command = f"while read -r line; do echo $line >>{gate.out}; done"
    with Watch("--json", "--allow-exec",
               scripts=[script(f'mw.sink.exec {{ argv = {{ "sh", "-c", [[{command}]] }} }}')]) as w:
        burst(1, 10)
        wait_written(gate.out, 10)
        first = child_of(w.pid, "sh")
        status = proc_status(first)
        check(status["Uid"].split()[0] != "0", "it runs as root")
        equal(int(status["CapEff"], 16) | int(status["CapPrm"], 16), 0, "capabilities")
        equal(status["NoNewPrivs"], "1", "no new privileges")
        os.kill(first, signal.SIGSTOP)
        burst(11, 20)
        w.marker()
        os.kill(first, signal.SIGKILL)
        w.wait_error("it ended")  # how, the loop of the program may have taken
        w.wait_error("started again in 0.25 s")
        equal(wait_written(gate.out, 20), list(range(1, 21)), "records")
        check(child_of(w.pid, "sh", but=(first,)), "another child")
        equal(w.stop(), 0, "status")


@test("a child reads all that was sent before the end")
def child_reads_all():
    gate = Gate()
    gate.open()
    with Watch("--json", "--allow-exec", scripts=[script(gate.sink())]) as w:
        burst(1, 3000, 100)
        w.marker()
        equal(w.stop(), 0, "status")
    equal(numbers(read(gate.out)), list(range(1, 3001)), "records")


# --- workers and versions that go ------------------------------------------------------------------


@test("a worker that is killed leaves its queue to the next one: nothing lost, torn or doubled")
def killed_worker():
    gate = Gate()
    with Watch("--json", "--allow-exec", scripts=[script(gate.sink())]) as w:
        first = 1
        for _ in range(3):
            burst(first, first + 299, 100)
            w.marker()
            old = child_of(w.pid, "moonwatch-lua")
            os.kill(old, signal.SIGKILL)
            until(lambda: child_of(w.pid, "moonwatch-lua", but=(old,)), "another worker")
            w.marker()
            first += 300
        gate.open()
        equal(wait_written(gate.out, 900), list(range(1, 901)), "records")
        figures = until(lambda: (f := stats(w))["sent"] == 900 and f, "that all are sent")
        equal([figures[k] for k in ("dropped", "queued", "doubtful")], [0, 0, 0], "figures")


@test("the next version of a script goes on with the queue, and one without the sink lets it run dry")
def next_version():
    gate, place = Gate(), os.path.join(scratch(), unique("scripts"))
    os.mkdir(place)
    path = os.path.join(place, "probe.lua")

    def save(text):
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)
    save(script(gate.sink()))
    with Watch("--json", "--allow-exec", scripts=[place]) as w:
        burst(1, 100)
        w.marker()
        save(script(gate.sink()) + "-- again\n")
        w.wait_error("generation 2")
        burst(101, 200)
        w.marker()
        equal(stats(w)["sent"] + stats(w)["queued"], 200, "records of both versions")
        save('local mw = require "moonwatch"\nreturn mw.script { name = "probe", on = {} }\n')
        w.wait_error("generation 3")
        check(child_of(w.pid, "sh"), "the child waits")
        gate.open()
        equal(wait_written(gate.out, 200), list(range(1, 201)), "records")
        until(lambda: not child_of(w.pid, "cat"), "the end of the child")


def hangs(sink):
    return script(sink).replace('elseif args[3] == "stats" then', 'elseif args[3] == "hang" then while true do end\n'
                                '  elseif args[3] == "stats" then')


@test("what a script sent before it was switched off still arrives")
def switched_off():
    gate = Gate()
    neighbour = 'local mw = require "moonwatch"\nreturn mw.script { name = "neighbour", on = {} }\n'
    with Watch("--json", "--allow-exec", "--budget", "60s", "--limit", "300ms",
               scripts=[hangs(gate.sink()), neighbour]) as w:
        burst(1, 2000, 100)
        ask("hang")
        w.wait_error("is off until its file changes")
        gate.open()
        equal(wait_written(gate.out, 2000), list(range(1, 2001)), "records")


@test("what a script sent that was alone in its worker still arrives after it was switched off")
def switched_off_alone():
    gate = Gate()
    with Watch("--json", "--allow-exec", "--limit", "300ms", "--trusted",
               Watch._path(hangs(gate.sink())),
               scripts=['local mw = require "moonwatch"\nreturn mw.script { name = "other", on = {} }\n']) as w:
        burst(1, 1500, 100)
        w.marker()
        ask("hang")
        w.wait_error("is off until its file changes")
        gate.open()
        equal(w.stop(), 0, "status")
        equal(numbers(read(gate.out)), list(range(1, 1501)), "records; stderr: " + w.stderr())


@test("what is left when nobody reads is told at the end")
def left_over():
    with Watch("--json", "--allow-exec", scripts=[script(Gate().sink())]) as w:
        burst(1, 2000, 200)
        w.marker()
        waiting = stats(w)["queued"]
        check(waiting > 0, "some wait")
        w.stop()
        check(f"{waiting} records were not written" in w.stderr(), "stderr: " + w.stderr())


# --- what is refused --------------------------------------------------------------------------------


@test("what the operator does not allow, and what makes no sense, is refused with a sentence")
def refused():
    out = out_dir()
    os.symlink("/etc/passwd", os.path.join(out, "link"))
    os.mkfifo(os.path.join(out, "pipe"))
    outside = os.path.join(scratch(), unique("sock"))
    cases = [
        ('mw.sink.file { path = "a" }', (), "start with --output-dir"),
        ('mw.sink.file { path = "link" }', ("--output-dir", out), "no regular file"),
        ('mw.sink.file { path = "pipe" }', ("--output-dir", out), "no regular file"),
        ('mw.sink.file { path = "../a" }', ("--output-dir", out), "no path below the output directory"),
        ('mw.sink.file { path = "/etc/a" }', ("--output-dir", out), "no path below the output directory"),
        ("mw.sink.file { }", ("--output-dir", out), "a path is missing"),
        ('mw.sink.exec { argv = { "cat" } }', (), "start with --allow-exec"),
        ('mw.sink.exec { argv = { "no-such-program" } }', ("--allow-exec",), "cannot run no-such-program"),
        ("mw.sink.exec { }", ("--allow-exec",), "`argv` is a list of strings"),
        (f'mw.sink.unix {{ path = "{outside}" }}', ("--output-dir", out), "start with --allow-unix"),
        (f'mw.sink.syslog {{ path = "{outside}" }}', (), "start with --allow-unix"),
        ('mw.sink.stdout { format = "{nope}" }', (), "no field is named 'nope'"),
        ('mw.sink.stdout { format = "{pid" }', (), "a brace"),
        ("mw.sink.stdout { ful = 1 }", (), "no option is named 'ful'"),
        ('mw.sink.stdout { full = "never" }', (), "`full` is"),
        ('mw.sink.stdout { full = "spool" }', (), "start with --output-dir"),
        ('mw.sink.stdout { queue = "many" }', (), "`queue` is a size"),
        ('mw.sink.stdout { keep = 3 }', (), "keep goes with rotate"),
        ('mw.sink.file { path = "a" }, mw.sink.file { path = "a", rotate = "4k" }', ("--output-dir", out),
         "has this file open already, with other options"),
        ('mw.sink.file { path = "a.1" }, mw.sink.file { path = "a", rotate = "4k" }', ("--output-dir", out),
         "has this file open already, with other options"),
        ('{} for i = 1, 17 do mw.sink.file { path = "many" .. i } end', ("--output-dir", out),
         "mw.sink.file: a script has 16 outputs at most"),
        ("mw.sink.stdout { } .emit(1, 2)", (), "a sink is what"),
        ('mw.alert { text = "x", sink = 1 }', (), "a sink is what"),
        ("getmetatable(mw.sink.stdout { }).__index.x = 1", (), "attempt to index"),
    ]
    for text, options, message in cases:
        path = scratch_file(unique("wrong") + ".lua", 'local mw = require "moonwatch"\nlocal _ = ' + text
                            if not text.startswith(("getmeta", "mw.alert")) else
                            'local mw = require "moonwatch"\n' + text)
        status, _, errors = run("run", "-q", "--for", "1s", *options, path)
        equal(status, 3, f"status of {text}")
        check(message in errors, f"{text}: {errors}")


@test("a file belongs to one script: another that wants it is refused, and it is its own when the first has gone")
def one_script_each():
    out, place = out_dir(), os.path.join(scratch(), unique("scripts"))
    os.mkdir(place)

    def save(name, options):
        path = os.path.join(place, name)
        with open(path + ".new", "w") as file:
            file.write(script('mw.sink.file { path = "a.jsonl"%s }' % options))
        os.rename(path + ".new", path)
        return path
    first = save("first.lua", "")
    with Watch("--json", "--output-dir", out, scripts=[place]) as w:
        burst(1, 10)
        wait_written(os.path.join(out, "a.jsonl"), 10)
        save("second.lua", ', rotate = "4k"')
        w.wait_error("mw.sink.file: another script has file a.jsonl open: each needs a file of its own")
        save("first.lua", ', rotate = "1M"')  # its own options it may change
        w.wait_error("generation 2")
        burst(11, 20)
        equal(wait_written(os.path.join(out, "a.jsonl"), 20), list(range(1, 21)), "records of both versions")
        os.unlink(first)
        w.wait_error("probe is gone")
        save("second.lua", ', rotate = "64k"')
        w.wait(lambda: re.search(r"\bloaded probe", w.stderr()), "that the other one has it")
        burst(21, 30)
        equal(wait_written(os.path.join(out, "a.jsonl"), 30), list(range(1, 31)), "records")


@test("a plan opens nothing")
def plan_opens_nothing():
    out = out_dir()
    text = script('mw.sink.exec { argv = { "touch", "%s/touched" } }' % out)
    status, said, errors = run("plan", scratch_file("planned.lua", text))
    equal((status, errors), (0, ""), "status and complaints")
    check("exec" in said, said)
    equal(os.listdir(out), [], "files")


if __name__ == "__main__":
    main()
