"""test_meta.py - the definitions for editors say what there is, no more and no less."""
import json
import os
import re
import socket

from mwcontrol import Controlled
from mwtest import ROOT, equal, main, test


def meta(name):
    with open(os.path.join(ROOT, "lua", "meta", name)) as f:
        return f.read()


def names_of_a_worker():
    """What `moonwatch repl` completes: it asks the library itself."""
    with Controlled("-q", lines=["exec: false"]) as w, socket.socket(socket.AF_UNIX) as s:
        s.connect(w.socket)
        s.sendall(json.dumps(["eval", ":names"]).encode() + b"\n")
        answer = json.loads(s.makefile().readline())
        equal(answer["ok"], True, answer)
        return set(answer["result"][1:].split("\n"))


@test("each function of mw has a definition, and each definition a function")
def functions():
    there = {n for n in names_of_a_worker() if n.startswith("mw.")}
    text = meta("moonwatch.lua")
    defined = {"mw." + n for n in re.findall(r"^function mw\.([\w.]+)\(", text, re.M)}
    defined |= {"mw." + n for n in re.findall(r"^mw\.([\w.]+) = ", text, re.M)}
    for comments, name in re.findall(r"((?:^---.*\n)+)^mw\.([\w.]+) = ", text, re.M):
        defined |= {f"mw.{name}.{field}" for field in re.findall(r"^---@field (\w+) ", comments, re.M)} & there
    closed = tuple(n + "." for n in there if not any(t.startswith(n + ".") for t in there))  # tells no names
    defined -= {n for n in defined if n.startswith(closed)}
    equal(sorted(there - defined), [], "without a definition in lua/meta/moonwatch.lua")
    equal(sorted(defined - there), [], "defined, but not there")


@test("each method of an event or a process has a definition, and each definition a method")
def methods():
    there = {n[3:] for n in names_of_a_worker() if n.startswith("ev:")}
    defined = set(re.findall(r"^function Process:(\w+)\(", meta("moonwatch.lua") + meta("event.lua"), re.M))
    equal(sorted(there ^ defined), [], "on one side only")


@test("each field that an event can have has a definition")
def fields():
    there = {n[3:] for n in names_of_a_worker() if n.startswith("ev.") and "." not in n[3:]}
    defined = set(re.findall(r"^---@field (\w+) ", meta("event.lua"), re.M))
    equal(sorted(there - defined), [], "without a definition in lua/meta/event.lua")


@test("the parameters of a definition have a type each")
def parameters():
    text = meta("moonwatch.lua")
    for block in re.findall(r"((?:^---.*\n)*)^function (mw[.\w]+)\(([^)]*)\)", text, re.M):
        comments, name, params = block
        for param in filter(None, (p.strip() for p in params.split(","))):
            if not re.search(rf"^---@param {re.escape(param)}\??[ \t]", comments, re.M):
                raise AssertionError(f"{name}: parameter {param} has no type")


if __name__ == "__main__":
    main()
