"""test_sigma.py - rules that exist, on the real kernel and on lines of JSON."""
import collections
import json
import os
import re
import shutil
import subprocess
import sys
import time

from mwcontrol import Controlled
from mwtest import MOONWATCH, ROOT, Watch, at, check, environment, equal, helper, main, note, run, scratch, scratch_file, test, unique

SIGMA = os.path.join(ROOT, "tests", "fixtures", "sigma")
RULES, EVENTS = os.path.join(SIGMA, "rules"), os.path.join(SIGMA, "events.jsonl")

# Inside a mount namespace: what the stand-ins are copied over is in memory and goes with it.
STAGE = r"""
import json, os, shutil, subprocess, sys
items, standin = json.load(open(sys.argv[1])), sys.argv[2]
mount = shutil.which("mount")
with open(standin, "rb") as file:
    program = file.read()
subprocess.run([mount, "-t", "tmpfs", "none", "/run"], check=True)
os.mkdir("/run/stage")
for n, directory in enumerate(("/usr", "/opt", "/var", "/root")):
    upper, work = f"/run/stage/u{n}", f"/run/stage/w{n}"
    os.mkdir(upper); os.mkdir(work)
    subprocess.run([mount, "-t", "overlay", "overlay", "-o", f"lowerdir={directory},upperdir={upper},workdir={work}", directory], check=True)
for directory in ("/tmp", "/dev/shm"):
    subprocess.run([mount, "-t", "tmpfs", "none", directory], check=True)
def place(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(program)
    os.chmod(path, 0o755)
print("ready", flush=True)
for item in items:
    place(item["Image"])
    if item["ParentImage"] != item["Image"]:
        place(item["ParentImage"])
    os.makedirs(item["CurrentDirectory"], exist_ok=True)
    with open("/run/stage/spec", "wb") as spec:
        words = [item["Image"], item["CurrentDirectory"], *item["CommandLine"].split(" ")]
        spec.write(b"".join(word.encode() + b"\0" for word in words))
    def login():
        if item["LogonId"] != 4294967295:
            open("/proc/self/loginuid", "w").write(str(item["LogonId"]))
    done = subprocess.run(item["ParentCommandLine"].split(" "), executable=item["ParentImage"], preexec_fn=login,
                          env={"STANDIN": "/run/stage/spec"}, stdout=subprocess.PIPE)
    print(json.dumps([item["id"], int(done.stdout or 0), done.returncode]), flush=True)
"""


def events():
    with open(EVENTS) as file:
        return {event["id"]: event for event in map(json.loads, file)}


def wanted():
    """{rule: events that it fits}, as two other programs found."""
    found = collections.OrderedDict()
    with open(os.path.join(SIGMA, "verdicts.tsv")) as file:
        for line in file.readlines()[1:]:
            rule, event = line.split()
            found.setdefault(rule, []).append(int(event))
    return found


def possible(event):
    """As a file system can have it: absolute paths, of files, below what the stage has in memory."""
    def path(text):
        text = text if text.startswith("/") else "/usr/bin/" + text
        text = os.path.normpath(text + ("x" if text.endswith("/") else ""))
        return text if text.startswith(("/usr/", "/opt/", "/var/", "/root", "/tmp/", "/dev/shm/")) else "/opt" + text
    image, parent = path(event["Image"]), path(event["ParentImage"])
    return dict(event, Image=image, ParentImage="/opt/parent" + parent if image.startswith(parent + "/") else parent,
                CurrentDirectory=path(event["CurrentDirectory"].rstrip("/") or "/root"))


def fits(some):
    """{event's id: rules}"""
    file = scratch_file(unique("events") + ".jsonl", "".join(json.dumps(e) + "\n" for e in some))
    status, out, errors = run("sigma", "match", "-q", RULES, file)
    equal((status, errors), (0, ""), "sigma match")
    found = collections.defaultdict(set)
    for line in out.splitlines():
        rule, event = line.split("\t")
        found[int(event)].add(rule)
    return found


def stand_ins():
    """An event for each rule that can be at all, with the rules that fit it; and the rules without one."""
    all_events, items, missing = events(), collections.OrderedDict(), []
    candidates = {rule: [possible(all_events[i]) for i in ids[:40]] for rule, ids in wanted().items()}
    found = fits({e["id"]: e for some in candidates.values() for e in some}.values())
    for rule, some in candidates.items():
        event = next((e for e in some if rule in found[e["id"]]), None)
        if event:
            items[event["id"]] = event
        else:
            missing.append(rule)
    return list(items.values()), found, missing


@test("the rules fit exactly the events that two other programs say, no more, no fewer")
def verdicts():
    status, out, errors = run("sigma", "match", RULES, EVENTS)
    equal((status, errors), (0, ""), "sigma match")
    found = sorted(tuple(line.split("\t")) for line in out.splitlines())
    with open(os.path.join(SIGMA, "verdicts.tsv")) as file:
        equal(found, sorted(tuple(line.split()) for line in file.readlines()[1:]), "pairs of rule and event")


@test("each rule that can fire fires once on a stand-in, on the real kernel and in a storm, and no other one does")
def live():
    items, found, missing = stand_ins()
    check(len(items) > 50 and len(missing) <= 3, f"{len(items)} events, no stand-in for {missing}")
    spec, stage = scratch_file("items.json", json.dumps(items)), scratch_file("stage.py", STAGE)
    with Watch("--json", "--sigma", RULES, "--set", "sigma.dedup=1ms", scripts=["return require 'moonwatch'.script { name = 'none' }"]) as w:
        w.marker()
        storm = subprocess.Popen([helper("storm"), "6000", "/bin/true"])
        actors = subprocess.run(["unshare", "--mount", sys.executable, stage, spec, helper("standin")], stdout=subprocess.PIPE, check=True)
        storm.wait()
        w.marker()
        equal(w.stop(), 0, "exit status")
    told = collections.defaultdict(list)
    for event in w.events:
        if at(event, "event.kind") == "alert" and at(event, "rule.id"):
            told[at(event, "process.pid")].append(at(event, "rule.id"))
    lines = actors.stdout.decode().splitlines()
    equal((lines[0], len(lines) - 1), ("ready", len(items)), "stand-ins that ran")
    for item, pid, status in map(json.loads, lines[1:]):
        equal(status, 0, f"status of the stand-in for event {item}")
        equal(sorted(told[pid]), sorted(found[item]), f"rules that fire for event {item}: {items[[i['id'] for i in items].index(item)]}")
    note(f"{len(items)} stand-ins, {sum(map(len, told.values()))} alerts, {len(missing)} of {len(wanted())} rules cannot fire here")


@test("an alert has the rule's id, title, level, author and tags, and says what matched")
def alert():
    path = scratch_file("one.yml", '''title: A marker
id: 6b1c0e9a-0000-4000-8000-000000000001
author: Ann Author
level: high
tags: [attack.execution, attack.t1059.004]
logsource: { product: linux, category: process_creation }
detection:
  selection: { Image|endswith: /act, CommandLine|contains: ' sigma-marker-%d ' }
  condition: selection
''' % os.getpid())
    with Controlled("--json", "--sigma", path, lines=["exec: args and args[2] == 'x'"]) as w:
        w.marker()
        subprocess.run(["act", f"sigma-marker-{os.getpid()}", "exit:0"], executable=helper("act"), check=True)
        event = w.wait_event(lambda e: at(e, "event.kind") == "alert", "the alert")
        equal((at(event, "rule.id"), at(event, "rule.name"), at(event, "rule.author"), at(event, "rule.tags")),
              ("6b1c0e9a-0000-4000-8000-000000000001", "A marker", ["Ann Author"], ["attack.execution", "attack.t1059.004"]), "rule")
        check(f"sigma-marker-{os.getpid()}" in json.dumps(at(event, "moonwatch.alert.details")), f"what matched: {event}")
        status = w.status()
        check("sigma" in json.dumps(status), "in the status")


@test("a rule file that changes is loaded while it runs; a wrong one is said with file and line")
def reload():
    def rule(word):
        return f"""title: A word
id: 6b1c0e9a-0000-4000-8000-000000000002
logsource: {{ product: linux, category: process_creation }}
detection: {{ selection: {{ CommandLine|contains: ' {word}-{os.getpid()} ' }}, condition: selection }}
"""
    directory = os.path.join(scratch(), unique("rules"))
    os.mkdir(directory)
    path = os.path.join(directory, "word.yml")

    def write(text):
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def act(word):
        subprocess.run(["act", f"{word}-{os.getpid()}", "exit:0"], executable=helper("act"), check=True)
    write(rule("one"))
    with Watch("--json", "--sigma", directory, lines=["exec: args and args[2] == 'x'"]) as w:
        w.marker()
        act("one")
        w.wait_event(lambda e: at(e, "rule.id"), "an alert of the first version")
        write("title: [\n")
        w.wait_error("word.yml:")
        write(rule("two"))
        w.wait(lambda: (act("two"), any(f"two-{os.getpid()}" in (at(e, "process.command_line") or "") and at(e, "rule.id")
                                        for e in w.events))[1], "an alert of the second")


@test("check, explain and wrong words")
def others():
    status, out, errors = run("sigma", "check", RULES)
    check(status in (0, 1) and "hardly ever" in out, f"check: {status} {out[-500:]} {errors}")
    rule = next(iter(wanted()))
    status, out, errors = run("sigma", "explain", "-q", "--rule", rule, "--event", str(wanted()[rule][0]), RULES, EVENTS)
    check(status == 0 and "true" in out, f"explain: {status} {out} {errors}")
    for words, code in ((["sigma"], 2), (["sigma", "nope"], 2), (["sigma", "match", "/nonexistent", EVENTS], 3),
                        (["sigma", "match", RULES, scratch_file("nul.jsonl", b"\0\1\n")], 3),
                        (["run", "--sigma", "/nonexistent"], 3)):
        status, _, errors = run(*words)
        equal((status, errors.count("\n") >= 1), (code, True), f"{words}: {errors}")


@test("the table of what is seen of a public collection is made")
def coverage():
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "coverage.py")], stdout=subprocess.PIPE, check=True, text=True,
                          env=environment({"MOONWATCH": MOONWATCH}))
    last = done.stdout.splitlines()[-1]
    found = re.match(r"391 attacks of 116 techniques: the rules see (\d+) .*, scripts/ (\d+) .*, either (\d+) ", last)
    check(found and int(found[1]) >= 210 and int(found[2]) >= 200 and int(found[3]) >= 300, last)
    note(last)


main()
