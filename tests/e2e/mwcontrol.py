"""mwcontrol.py - a watch that takes orders, and a program on a terminal of its own."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from mwtest import DEADLINE, MOONWATCH, Failed, Watch, environment, equal, helper, run, scratch, scratch_file, short, unique

SCRIPT = """local mw = require "moonwatch"
return mw.script {{ name = "{name}", on = {{ exec = function(ev)
  if ev.args and ev.args[2] == "{tag}" then {body} end
end }} }}
"""


def script(name, tag, body):
    return scratch_file(f"{name}.lua", SCRIPT.format(name=name, tag=tag, body=body))


class Controlled(Watch):
    def __init__(self, *options, **more):
        self.socket = os.path.join(scratch(), unique("s"))
        super().__init__("--control", self.socket, *options, **more)

    def ctl(self, *words, command="ctl"):
        return run(command, "--control", self.socket, *words)

    def status(self):
        status, out, errors = self.ctl("--json", "status")
        equal((status, errors), (0, ""), "status")
        return json.loads(out)

    def script(self, name):
        return next(s for s in self.status()["scripts"] if s["name"] == name)

    def act(self, tag):
        subprocess.run(["act", tag, "exit:0"], executable=helper("act"), check=True)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *words, columns=80, rows=24):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(MOONWATCH, [MOONWATCH, *words], environment({"LC_ALL": "C.UTF-8", "TERM": "xterm"}))
        self.resize(columns, rows)
        self.seen = b""
        self.before = termios.tcgetattr(self.fd)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, pattern, what):
        until = time.monotonic() + DEADLINE
        while not re.search(pattern, self.seen, re.S):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise Failed(f"{what}: not seen in {short(self.seen[-2000:])}")
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                raise Failed(f"{what}: ended with {short(self.seen[-2000:])}")

    def press(self, keys):
        os.write(self.fd, keys)

    def status(self):
        """Read to its end."""
        while True:
            try:
                some = os.read(self.fd, 65536)
            except OSError:
                break
            if not some:
                break
            self.seen += some
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
