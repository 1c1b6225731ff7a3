"""Which of a public collection's attacks on Linux are seen, technique by technique: by the Sigma rules that lie in
tests/fixtures/sigma, and by scripts/.

    python3 tests/coverage.py         the table
    python3 tests/coverage.py -q      the last line only

Nothing of them runs. Each line of their commands became a few made-up events (a shell that is given the line, and each
simple command in it, tests/fixtures/sigma/README.md); here these are replayed as lines of JSON. It says what is
seen at all in arguments and paths: not files, not sockets, and not how well an attack is told from harmless work.
MOONWATCH is the binary (build/moonwatch)."""
import collections
import json
import os
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOONWATCH = os.path.abspath(os.environ.get("MOONWATCH") or os.path.join(ROOT, "build", "moonwatch"))
FIXTURES = os.path.join(ROOT, "tests", "fixtures", "sigma")

# They tell of anything, of what is new, or of what is no event.
NO_POLICIES = {"who-ran-what", "build-cost", "slow-commands", "first-seen", "hidden-process"}


def attacks():
    """{(technique, test): [event, ...]}, in order."""
    found = collections.OrderedDict()
    with open(os.path.join(FIXTURES, "events.jsonl")) as file:
        for line in file:
            event = json.loads(line)
            kind, *names = event["source"].split(":")
            if kind == "atomic":
                found.setdefault(tuple(names[:2]), []).append(event)
    return found


def words(command):
    """The argument vector, as far as a joined line shows it."""
    shell = command.split(" ", 2)
    if len(shell) == 3 and shell[1] == "-c" and os.path.basename(shell[0]) in ("sh", "bash", "dash"):
        return shell
    try:
        return shlex.split(command) or [command]
    except ValueError:
        return command.split()


def as_ecs(events, hour):
    """A line for each: more than ten minutes lie between two attacks, so that no alert is held back for one before."""
    for n, event in enumerate(events):
        yield json.dumps({
            "@timestamp": 1700000000 + 620 * hour + n, "event": {"category": ["process"], "action": "exec", "sequence": event["id"]},
            "process": {"pid": 1000000 + event["id"], "executable": event["Image"], "args": words(event["CommandLine"]),
                        "working_directory": event["CurrentDirectory"],
                        "parent": {"pid": 900000 + hour, "executable": event["ParentImage"], "args": words(event["ParentCommandLine"])}},
            "user": {"id": "0" if event["User"] == "root" else "1000"}})


def by_rules():
    """{event's number: rules that fit}"""
    done = subprocess.run([MOONWATCH, "sigma", "match", "-q", os.path.join(FIXTURES, "rules"), os.path.join(FIXTURES, "events.jsonl")],
                          stdout=subprocess.PIPE, check=True, text=True)
    found = collections.defaultdict(set)
    for line in done.stdout.splitlines():
        rule, event = line.split("\t")
        found[int(event)].add(rule)
    return found


def by_scripts(all_attacks):
    """{event's number: scripts that tell of it}"""
    scripts = [os.path.join(ROOT, "scripts", name) for name in sorted(os.listdir(os.path.join(ROOT, "scripts")))
               if name.endswith(".lua") and name[:-4] not in NO_POLICIES]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        for hour, events in enumerate(all_attacks.values()):
            lines.write("".join(line + "\n" for line in as_ecs(events, hour)))
        lines.flush()
        done = subprocess.run([MOONWATCH, "replay", "-q", "--json", "--input", lines.name, *scripts], stdout=subprocess.PIPE,
                              check=True, text=True)
    found = collections.defaultdict(set)
    for line in done.stdout.splitlines():
        told = json.loads(line) if line.startswith("{") else {}
        if told.get("event", {}).get("kind") == "alert" and "sequence" in told["event"]:
            found[told["event"]["sequence"]].add(told["rule"]["name"])
    return found


def main():
    quiet = sys.argv[1:] == ["-q"]
    every, rules = attacks(), by_rules()
    scripts = by_scripts(every)
    table = collections.OrderedDict()
    for (technique, _), events in every.items():
        row = table.setdefault(technique, [0, 0, 0, 0])
        rule, script = (any(e["id"] in found for e in events) for found in (rules, scripts))
        for i, seen in enumerate((True, rule, script, rule or script)):
            row[i] += seen
    if not quiet:
        print(f"{'technique':<12} {'attacks':>8} {'rules':>8} {'scripts':>8} {'either':>8}")
        for technique, row in sorted(table.items()):
            print(f"{technique:<12} " + " ".join(f"{n:>8}" for n in row))
    attacks_, rule, script, either = (sum(row[i] for row in table.values()) for i in range(4))
    print(f"{attacks_} attacks of {len(table)} techniques: the rules see {rule} ({100 * rule // attacks_} %), scripts/ {script} "
          f"({100 * script // attacks_} %), either {either} ({100 * either // attacks_} %); "
          f"{sum(row[3] > 0 for row in table.values())} techniques are seen at all")


main()
