"""mwtest.py - what the end-to-end tests share: tests and their TAP, C helpers, a running moonwatch.

A test is a function with a claim:

    @test("an exec is told once")
    def exec_once():
        with Watch() as w:          # the binary runs and has told of a process that we started
            ...

The tests wait for events, never for time: a wait ends as soon as what it waits for is there, and
fails at its deadline. The machine is not ours alone, so a test looks only at processes of its own.
Which binary: $MOONWATCH, else build/moonwatch of this tree.
"""
import base64
import contextlib
import functools
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MOONWATCH = os.path.abspath(os.environ.get("MOONWATCH") or os.path.join(ROOT, "build", "moonwatch"))

DEADLINE = 15  # seconds for one wait; a test that hangs ends here, one that works never waits so long
HANG = 60      # seconds for one test as a whole

# --- tests -------------------------------------------------------------------------------------


class Skip(Exception):
    """This machine cannot show the claim; the reason is told and counted."""


class Failed(AssertionError):
    pass


_tests = []
_notes = []


def test(claim):
    def register(function):
        _tests.append((claim, function))
        return function
    return register


def note(text):
    """A figure to be shown below the test's line."""
    _notes.append(text)


def check(truth, message):
    if not truth:
        raise Failed(message)


def equal(found, wanted, what):
    if found != wanted:
        raise Failed(f"{what}: found {short(found)}, wanted {short(wanted)}")


def short(value, most=600):
    text = repr(value)
    return text if len(text) <= most else text[:most] + f"... ({len(text)} characters)"


def _hangs(_signal, _frame):
    raise Failed(f"the test did not end within {HANG} s")


def _run_one(function):
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(HANG)
    try:
        function()
    finally:
        signal.alarm(0)


def main():
    """Run the tests of this file, or those whose claim contains an argument; print TAP, exit."""
    wanted = sys.argv[1:]
    chosen = [t for t in _tests if not wanted or any(w in t[0] for w in wanted)]
    reason = refusal()
    failed = 0
    for number, (claim, function) in enumerate(chosen, 1):
        del _notes[:]
        began = time.monotonic()
        try:
            if reason:
                raise Skip(reason)
            _run_one(function)
            print(f"ok {number} - {claim}")
        except Skip as skip:
            print(f"ok {number} - {claim} # SKIP {skip}")
        except Exception as problem:  # a crash of the test is a failure too
            failed += 1
            print(f"not ok {number} - {claim}")
            text = str(problem) if isinstance(problem, Failed) else traceback.format_exc()
            place = traceback.extract_tb(problem.__traceback__)
            lines = [f"{os.path.basename(p.filename)}:{p.lineno}" for p in place
                     if os.path.dirname(os.path.abspath(p.filename)) == HERE]
            for line in text.splitlines() + ["at " + ", ".join(lines[-3:])]:
                print(f"#   {line}")
        for text in _notes:
            print(f"# {text}")
        print(f"# {time.monotonic() - began:.1f} s", flush=True)
    print(f"1..{len(chosen)}")
    sys.exit(1 if failed else 0)


# --- what this machine allows ------------------------------------------------------------------

NETLINK_CONNECTOR = 11
PROC_GROUP = 1


def connector_message(what_and_data, ack=0, seq=0):
    """nlmsghdr, cn_msg for the process connector, and the data."""
    cn = struct.pack("=IIIIHH", 1, 1, seq, ack, len(what_and_data), 0) + what_and_data
    return struct.pack("=IHHII", 16 + len(cn), 3, 0, seq, 0) + cn


def connector_answers():
    """Does the kernel acknowledge a listener? Asked without the code under test."""
    cookie = struct.unpack("=I", os.urandom(4))[0] // 2
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR) as s:
            s.bind((0, PROC_GROUP))
            s.send(connector_message(struct.pack("=I", 1), ack=cookie))
            until = time.monotonic() + 2
            while time.monotonic() < until:
                if not select.select([s], [], [], 0.1)[0]:
                    continue
                data = s.recv(4096)
                if len(data) >= 40 and struct.unpack_from("=I", data, 28)[0] == cookie + 1:
                    s.send(connector_message(struct.pack("=I", 2)))
                    return True
    except OSError:
        pass
    return False


def refusal():
    """Why nothing can be watched here, or None."""
    if os.geteuid() != 0:
        return "not root"
    if not connector_answers():
        return "the kernel refuses the process connector here"
    return None


# --- C helpers and scratch files ---------------------------------------------------------------

_scratch = None


def scratch():
    """A directory that goes with the test run; the scripts' user may look into it."""
    global _scratch
    if not _scratch:
        _scratch = tempfile.TemporaryDirectory(prefix="moonwatch-e2e-")
        os.chmod(_scratch.name, 0o755)
    return _scratch.name


def scratch_file(name, text):
    if isinstance(name, bytes):
        path = os.path.join(os.fsencode(scratch()), name)
    else:
        path = os.path.join(scratch(), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


_names = 0


def unique(prefix):
    global _names
    _names += 1
    return f"{prefix}-{os.getpid()}-{_names}"


def helper(name):
    """The path of helpers/NAME.c, compiled; static, so that its start is short."""
    path = os.path.join(scratch(), name)
    if not os.path.exists(path):
        source = os.path.join(HERE, "helpers", name + ".c")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-O1", "-static", "-pthread", "-o", path, source],
                       check=True)
    return path


class Act:
    """helpers/act.c, which does what its last argument says, step by step."""

    def __init__(self, steps, name="act", args=(), **popen):
        self.argv = [name, *args, steps]
        self.process = subprocess.Popen(self.argv, executable=helper("act"),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                        **popen)
        self.pid = self.process.pid

    def said(self):
        """The next line of a `say` step, as words."""
        if not select.select([self.process.stdout], [], [], DEADLINE)[0]:
            raise Failed("the helper said nothing")
        return self.process.stdout.readline().decode().split()

    def go(self):
        """Let it pass its `wait` step."""
        self.process.stdin.write(b"\n")

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(DEADLINE)
        self.process.stdout.close()
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class LeaderFirst:
    """A process whose main thread ends before the rest of it, which then ends with this code or becomes
    another program: helpers/threads.c."""

    def __init__(self, code=None, becomes=()):
        how = ["leader-first-exec", *becomes] if becomes else ["leader-first", str(code)]
        self.process = subprocess.Popen([helper("threads"), *how], bufsize=0,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self.process.pid

    def end_main_thread(self):
        self.process.stdin.write(b"\n")
        equal(self.process.stdout.readline().split()[:2], [b"gone", b"%d" % self.pid], "the helper")

    def end(self, by=None):
        """By itself with its code, or by this signal; returns when it is reaped."""
        if by:
            self.process.send_signal(by)
        else:
            self.process.stdin.write(b"\n")
        return self.process.wait(DEADLINE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


# --- a running moonwatch -----------------------------------------------------------------------

MARKER = "moonwatch-e2e-marker"


def run(*args, seconds=DEADLINE, env=None, **popen):
    """Run the binary to its end: (status, stdout, stderr) as text."""
    done = subprocess.run([MOONWATCH, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=seconds, env=environment(env), **popen)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@functools.lru_cache
def source():
    """Who tells what an exec is: "tap" where it can be had, else "proc"."""
    return "tap" if re.search(r"^good +tap", run("doctor")[1], re.M) else "proc"


def environment(changes=None):
    env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    env["MOONWATCH_CONTROL"] = "none"  # the usual place may be somebody's
    env.update(changes or {})
    return env


class Watch:
    """The binary in a process of its own, and what it says.

    Without `scripts` (texts, or a path each) and `lines` (-e) it tells of everything. With them, a
    line of our own joins in, so that markers are told of too: whole events, for which everything is
    read. `trusted` are scripts that may do anything, in a process of their own. With `frugal` it looks at nothing but args."""

    def __init__(self, *options, scripts=(), trusted=(), lines=(), env=None, ready=True, stdout=None,
                 frugal=False, **popen):
        self.lines, self.errors, self.events, self.invalid = [], [], [], []
        self._change = threading.Condition()
        self._markers = 0
        command = [MOONWATCH]
        if scripts or lines or trusted:
            if "--flight" not in options: # it is shared by all watches, and reads more than scripts ask for
                options = ("--flight", "none", *options)
            action = " => print(args[1], args[2])" if frugal else ""
            command += ["run", *options, "-e", f'exec: args and args[2] == "{MARKER}"{action}']
            for line in lines:
                command += ["-e", line]
            for script in trusted:
                command += ["--trusted", self._path(script)]
            command += [self._path(s) for s in scripts]
        else:
            command += options
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE if stdout is None else stdout,
                                        stderr=subprocess.PIPE, env=environment(env), **popen)
        self.pid = self.process.pid
        self._readers = [threading.Thread(target=self._read, args=(self.process.stderr, self._error),
                                          daemon=True)]
        if stdout is None:
            self._readers.append(threading.Thread(
                target=self._read, args=(self.process.stdout, self._line), daemon=True))
        for reader in self._readers:
            reader.start()
        if ready:
            try:
                self.marker()
            except BaseException:
                self.close()
                raise

    @staticmethod
    def _path(script):
        text = script.encode() if isinstance(script, str) else script
        if b"\n" in text or not os.path.exists(script):
            return scratch_file(unique("script") + ".lua", text)
        return script

    # --- what it said

    def _read(self, stream, take):
        for line in stream:
            with self._change:
                take(line)
                self._change.notify_all()
        stream.close()

    def _line(self, line):
        self.lines.append(line)
        if not line.startswith(b"{") or not line.endswith(b"\n"):  # the last one of a killed watch
            return
        try:
            self.events.append(json.loads(line))
        except ValueError as problem:
            self.invalid.append(f"{problem} in {short(line)}")

    def _error(self, line):
        self.errors.append(line.decode(errors="replace"))

    def stderr(self):
        with self._change:
            return "".join(self.errors)

    def wait(self, ready, what, seconds=DEADLINE):
        """Wait until ready() is something; asked after each new line."""
        until = time.monotonic() + seconds
        with self._change:
            while True:
                equal(self.invalid, [], "lines that are no JSON")
                result = ready()
                if result:
                    return result
                left = until - time.monotonic()
                if left <= 0 or not any(r.is_alive() for r in self._readers):
                    ended = self.process.poll()
                    raise Failed(f"{what} did not come within {seconds} s\n"
                                 f"status of the binary: {ended}\n"
                                 f"stderr: {short(''.join(self.errors[-10:]))}\n"
                                 f"last: {short(self.lines[-1:])}")
                self._change.wait(min(left, 0.5))

    def wait_event(self, fits, what, seconds=DEADLINE, after=0):
        """The first event from number `after` on for which fits(event)."""
        at = after

        def ready():
            nonlocal at
            while at < len(self.events):
                at += 1
                if fits(self.events[at - 1]):
                    return self.events[at - 1]
            return None
        return self.wait(ready, what, seconds)

    def wait_line(self, fits, what, seconds=DEADLINE, after=0):
        at = after

        def ready():
            nonlocal at
            while at < len(self.lines):
                at += 1
                if fits(self.lines[at - 1]):
                    return self.lines[at - 1]
            return None
        return self.wait(ready, what, seconds)

    def wait_error(self, text, seconds=DEADLINE):
        return self.wait(lambda: text in "".join(self.errors), f"'{text}' on stderr", seconds)

    def marker(self, seconds=DEADLINE):
        """Start a process and wait until it is told of: what happened before has been told then,
        but for exits, which the kernel may tell a moment late."""
        until = time.monotonic() + seconds
        begin = len(self.lines)
        while True:
            self._markers += 1
            name = f"m{self._markers}-{self.pid}"
            subprocess.run([name, MARKER, "exit:0"], executable=helper("act"), check=True)
            wanted = name.encode()
            try:
                return self.wait_line(lambda line: wanted in line and MARKER.encode() in line,
                                      "the marker", min(0.3, seconds), after=begin)
            except Failed:
                if time.monotonic() >= until or self.process.poll() is not None:
                    raise

    @contextlib.contextmanager
    def stopped(self):
        """Meanwhile the collector gets no processor time; the kernel goes on to queue events."""
        os.kill(self.pid, signal.SIGSTOP)
        while proc_stat(self.pid)[1][0] != b"T":
            time.sleep(0.001)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    # --- its end

    def stop(self, how=signal.SIGINT, seconds=DEADLINE):
        """Ask it to end; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.ended(seconds)

    def ended(self, seconds=DEADLINE):
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        equal(self.invalid, [], "lines that are no JSON")
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- the process

    def workers(self):
        """pids of the processes in which scripts run, in the order in which they were started."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def worker(self):
        """pid of the one in which they all do."""
        children = self.workers()
        check(len(children) == 1, f"one worker expected, found {children}")
        return children[0]


# --- events ------------------------------------------------------------------------------------


def at(event, path):
    """at(e, "process.parent.pid"), or None."""
    for key in path.split("."):
        if not isinstance(event, dict) or key not in event:
            return None
        event = event[key]
    return event


def kind(event):
    return at(event, "moonwatch.type")


def pid_of(event):
    return at(event, "process.pid")


def args_of(event):
    """The argument vector as bytes; invalid UTF-8 comes in base64 beside the readable form."""
    raw = at(event, "moonwatch.raw.args")
    if raw is not None:
        return base64.b64decode(raw, validate=True).split(b"\0")[:-1]
    args = at(event, "process.args")
    return None if args is None else [a.encode() for a in args]


def of(pid, *kinds):
    """A test for events of this process and these kinds."""
    return lambda e: pid_of(e) == pid and (not kinds or kind(e) in kinds)


# --- /proc -------------------------------------------------------------------------------------


def proc_read(pid, name):
    """The bytes of /proc/PID/NAME, or None when the process is gone."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def proc_stat(pid):
    """(comm, the fields after it, from the state on), or None."""
    text = proc_read(pid, "stat")
    if not text:
        return None
    return text[text.index(b"(") + 1:text.rindex(b")")], text[text.rindex(b")") + 2:].split()


def proc_status(pid):
    text = proc_read(pid, "status") or b""
    return dict(line.split(":\t", 1) for line in text.decode(errors="replace").splitlines()
                if ":\t" in line)


def cpu_ns(pid):
    """Processor time of the main thread so far."""
    return int(proc_read(pid, "schedstat").split()[0])
