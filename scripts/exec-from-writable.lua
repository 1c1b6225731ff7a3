-- A program or script that runs from where anybody can write, from memory alone (memfd), or whose file is gone already.
-- Why: what was brought along is put where the account may write, and often removed at once. A program out of memory or
--   without a file has nothing that could be looked at later: high; out of a directory: medium.
-- ATT&CK: T1059, T1036.005, T1620
-- False positives: builds and installers that unpack into /tmp (`ignore` has the common ones), runc's copy of itself,
--   a program that was upgraded and starts itself anew.
-- Not seen: what an interpreter loads besides its first argument; directories of users that others may write into.
-- Options: dirs = /tmp/ /var/tmp/ /dev/shm/ /run/lock/; ignore = texts in paths that are left out; scripts = true (also
--   `sh /tmp/x`)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local dirs = mw.option("dirs", { "/tmp/", "/var/tmp/", "/dev/shm/", "/run/lock/" })
local ignore = mw.option("ignore", { "/tmp/go-build", "/memfd:runc_cloned", "/memfd:runc", "/tmp/cargo-install",
  "/tmp/rustc",
  "/conftest", "/tmp/cc", "/CMakeFiles/", "/tmp/pip-", "/tmp/.mount_", "/tmp/dracut." })
local scripts = mw.option("scripts", true)
local interpreters = { "sh", "bash", "dash", "zsh", "ksh", "ash", "python", "python2", "python3", "perl", "ruby",
  "php", "node", "lua" }

local function tell(ev, severity, what)
  if not command.contains(what, ignore) then
    mw.alert { severity = severity, key = (ev.exe or "") .. what, dedup = "1m", event = ev,
      tags = { "attack.t1059", severity == "high" and "attack.t1620" or "attack.t1036.005" },
      text = ("%s: %s"):format(what, command.who(ev)) }
  end
end

local function without_file(ev)
  if command.begins(ev.exe, { "/memfd:" }) then
    tell(ev, "high", "runs from memory alone, " .. ev.exe)
  elseif ev.deleted then
    tell(ev, "high", "runs a file that is deleted already, " .. (ev.exe or ev.comm or "?"))
  end
end

local function script_of(ev)
  local first = ev.args and not command.told(ev) and command.operands(ev.args)[1]
  if first and command.begins(first, dirs) then
    tell(ev, "medium", "runs a script from where anybody can write, " .. first)
  end
end

local function from_directory(ev)
  if not ev.deleted then
    tell(ev, "medium", "runs from where anybody can write, " .. ev.exe)
  end
end

return mw.script {
  name = "exec-from-writable",
  tags = { "attack.t1059", "attack.t1036.005", "attack.t1620" },
  needs = command.needs,
  on = {
    exec = {
      mw.where { exe = mw.prefix(dirs) }(from_directory),
      mw.where { exe = mw.prefix "/memfd:" }(without_file),
      mw.where { deleted = true, exe = mw.none(mw.prefix "/memfd:") }(without_file),
      scripts and mw.where { comm = interpreters }(script_of) or nil,
    },
  },
}
