"""test_figures.py - the live figures: what mw.stats() and SIGUSR1 tell while the watch goes on."""
import os
import re
import signal
import subprocess
import time

from mwtest import Watch, check, equal, helper, main, test

STATS = """
local mw = require "moonwatch"
mw.every(0.02, function() mw.emit { stats = mw.stats() } end)
mw.at_exit(function() mw.emit { last = mw.stats() } end)
return mw.script { name = "stats", on = { exec = function() end } }
"""

HANGS = """
local mw = require "moonwatch"
return mw.script { name = "hangs", on = { exec = function(ev)
  if ev.args and ev.args[2] == "hang" then while true do end end
end } }
"""


def short_ones(count):
    subprocess.run([helper("storm"), str(count), helper("act"), "exit:0"], check=True)


def number(text):
    return int(text.replace(",", ""))


def of_summary(text):
    """The figures of the summary's first two lines."""
    first = re.search(r"moonwatch: ([\d,]+) events in [\d.]+ s, ([\d,]+) lost", text)
    named = re.search(r"named: exe ([\d.]+) %, args ([\d.]+) %, comm ([\d.]+) % of ([\d,]+) execs", text)
    check(first and named, f"no summary: {text}")
    return {"events": number(first[1]), "lost": number(first[2]), "execs": number(named[4]),
            "named": dict(zip(("exe", "args", "comm"), map(float, named.groups()[:3])))}


def live(*options):
    with Watch("--json", *options, scripts=[STATS]) as w:
        before = w.wait_event(lambda e: "stats" in e, "figures")["stats"]
        short_ones(100)
        after = w.wait_event(lambda e: "stats" in e and e["stats"]["execs"] >= before["execs"] + 100,
                             "a hundred execs")["stats"]
        check(after["events"] >= before["events"] + 300 - 1, f"{before} {after}")
        check(after["processes"] > 3, f"{after}")
        check(after["buffer_bytes"] >= 4096, f"{after}")
        check(0.5 < after["named"]["args"] <= 1, f"{after}")
        equal((after["lost"], after["missed"], after["storm"]), (0, 0, False), "lost, missed, storm")
        equal(w.stop(), 0, "status")
        last = [e["last"] for e in w.events if "last" in e][0]
        told = of_summary(w.stderr())
        equal({k: last[k] for k in ("events", "lost", "execs")},
              {k: told[k] for k in ("events", "lost", "execs")}, "the last figures and the summary")
        for field, percent in told["named"].items():
            check(abs(100 * last["named"][field] - percent) < 0.06, f"{field}: {last} {told}")


@test("mw.stats() grows while the watch runs, and ends as the summary says")
def in_a_worker():
    live()


@test("mw.stats() does so with --single, too")
def in_one_process():
    live("--single")


def signalled(*options):
    with Watch("--json", *options, scripts=[STATS]) as w:
        for times in 1, 2:
            short_ones(10)
            w.marker()
            os.kill(w.pid, signal.SIGUSR1)
            w.wait(lambda: "".join(w.errors).count("moonwatch: stats: ") == times, "the script's line")
        seen = [of_summary("moonwatch:" + part)
                for part in re.split(r"^moonwatch:(?= [\d,]+ events)", w.stderr(), flags=re.M)[1:]]
        equal(len(seen), 2, "summaries")
        check(seen[1]["execs"] >= seen[0]["execs"] + 10, f"{seen}")
        w.marker()
        equal(w.stop(), 0, "status")
        equal(w.stderr().count("moonwatch: stats: "), 3, "lines of the script in all")


@test("SIGUSR1 prints the summary and the watch goes on")
def by_signal():
    signalled()


@test("SIGUSR1 does so with --single, too")
def by_signal_in_one():
    signalled("--single")


@test("SIGUSR1 is answered for the watch when a script hangs")
def hanging():
    with Watch("--json", scripts=[HANGS]) as w:
        subprocess.run(["act", "hang", "exit:0"], executable=helper("act"), check=True)
        os.kill(w.pid, signal.SIGUSR1)
        w.wait_error(" lost (proved)")
        w.wait_error("over its budget")
        w.marker()
        equal(w.stop(), 0, "status")


@test("while a slow script misses records, SIGUSR1 says how many")
def missing():
    with Watch("--json", "--ring", "512k", scripts=[STATS]) as w:
        worker = w.worker()
        os.kill(worker, signal.SIGSTOP)
        short_ones(400)
        os.kill(worker, signal.SIGCONT)
        missed = w.wait_event(lambda e: "stats" in e and e["stats"]["missed"] > 0, "missed")["stats"]["missed"]
        told, tries = 0, 0
        while told < missed and tries < 200:  # the worker says it once a second while gap follows gap
            tries += 1
            os.kill(w.pid, signal.SIGUSR1)
            w.wait(lambda: "".join(w.errors).count("(proved)") == tries, "the summary")
            told = max([0] + [number(n) for n in re.findall(r"([\d,]+) missed by slow", w.stderr())])
            time.sleep(0.02)
        check(told >= missed, f"missed {missed}, told of {told}")


if __name__ == "__main__":
    main()
