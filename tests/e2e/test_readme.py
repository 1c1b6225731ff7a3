"""Every console block of the README runs here and prints what it shows.

While a block runs, a stand-in for a busy machine runs the commands that the blocks look for. What changes from
run to run (numbers, times, spaces that align them) may differ, and other lines may stand between; "..." says so
to the reader. The README shows a machine with the tap; where there is none, its lines are not expected."""
import os
import re
import subprocess
import sys
import tempfile

import mwtest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

# A process named web-demo that starts what the README's blocks select; nginx runs a shell.
STIMULUS = r"""
cp /bin/bash "$dir/web-demo"; cp /bin/bash "$dir/nginx"
printf '%s\n' 'sh -c "exit 3"' 'true "a b" x' "env true 'a b' $'x\ny'" > "$dir/demo"
sed -i 's/^true/env true/' "$dir/demo"
while [ -e "$dir/go" ]; do
  (exec -a web-demo "$dir/web-demo" < "$dir/demo")
  "$dir/nginx" -c 'sh -c "id; true"; true'
  sleep 0.1
done
"""


def blocks(text):
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output.splitlines()


def pattern(line):
    out = []
    for token in re.findall(r"\d[\d,.:]*|\s+|[^\d\s]+", line):
        if token[0].isdigit():
            out.append(r"[\d,.:]+")
        elif token.isspace():
            out.append(r"\s+")
        else:
            out.append(re.escape(token))
    return re.compile("^" + "".join(out) + r"\s*$")


def missing_lines(expected, got):
    """The first expected line that is not found in order; None when all are."""
    at = 0
    for line in expected:
        if line.strip() == "...":
            continue
        want = pattern(line)
        while at < len(got) and not want.match(got[at]):
            at += 1
        if at == len(got):
            return line
        at += 1
    return None


def without_tap(expected):
    """What a machine prints that has to do without."""
    return [line.replace("sources connector, tap", "sources connector, taskstats") for line in expected
            if not re.match(r"good +tap |the tap +\d", line)]


def run(command, directory):
    env = dict(os.environ, PATH=os.path.join(ROOT, "build") + ":" + os.environ["PATH"])
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=60)
    return result.stdout.decode("utf-8", "replace").splitlines()


def main():
    if os.geteuid() != 0:
        print("ok 1 - the README's console blocks # SKIP not root")
        return 0
    with open(os.path.join(ROOT, "README.md")) as f:
        found = list(blocks(f.read()))
    failed = 0
    tap = mwtest.source() == "tap"
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        go = os.path.join(directory, "go")
        open(go, "w").close()
        busy = subprocess.Popen(["bash", "-c", STIMULUS], env=dict(os.environ, dir=directory),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for number, (command, expected) in enumerate(found, 1):
            got = run(command, directory)
            lost = missing_lines(expected if tap else without_tap(expected), got)
            print("%sok %d - README: %s" % ("not " if lost else "", number, command))
            if lost:
                failed += 1
                print("# not printed: %s\n# printed:" % lost)
                print("\n".join("#   " + line for line in got[:40]))
        os.unlink(go)
        busy.wait()
    print("1..%d" % len(found))
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
