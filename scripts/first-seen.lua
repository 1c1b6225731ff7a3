-- A program that has never run on this host before, after a time of learning what is usual.
-- Why: a server does the same things each day. What is new is worth a look, whatever its name; kept over restarts.
-- ATT&CK: T1204.002, T1059
-- False positives: upgrades that bring new paths (`ignore` leaves out versions in paths of kernels and snaps),
--   packages that
--   are installed (below `quiet` programs), administrators who do something for the first time.
-- Not seen: scripts, as their interpreter is known; what ran while it was learning.
-- Options: learn = 7d (how long nothing is told); ignore = beginnings of paths that are left out; quiet = names of
--   programs
--   above it whose programs are learned and not told of
local mw = require "moonwatch"
local command = require "moonwatch.command"

local learn = mw.option("learn", "7d")
local ignore = mw.option("ignore", { "/lib/modules/", "/usr/lib/modules/", "/snap/", "/var/lib/dpkg/", "/tmp/go-build",
  "/usr/src/" })
local quiet = mw.set(mw.option("quiet", { "dpkg", "apt", "apt-get", "unattended-upgr", "rpm", "dnf", "yum", "zypper",
  "snapd",
  "make", "ninja", "cargo", "cmake" }))

local programs = mw.baseline { name = "programs", learn = learn }

return mw.script {
  name = "first-seen",
  tags = { "attack.t1204.002", "attack.t1059" },
  needs = command.needs,
  on = {
    exec = function(ev)
      if not ev.exe or ev.container or command.begins(ev.exe, ignore) then
        return -- a container's programs are those of its image
      end
      if programs:new(ev.exe) and not command.below(ev, quiet) then
        mw.alert { severity = "low", key = ev.exe, dedup = "1h", event = ev,
          text = ("%s has never run here: %s"):format(ev.exe, command.who(ev)) }
      end
    end,
  },
}
