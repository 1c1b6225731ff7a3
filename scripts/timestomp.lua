-- A command that sets a file's times back, or to those of another file.
-- Why: what was changed last is where people look first after a break-in.
-- ATT&CK: T1070.006
-- False positives: builds, packages and backups, which do this all day (`ignore`).
-- Not seen: a program that sets times itself; a clock that is set back while a file is written is told of (`date` with
--   a time).
-- Options: ignore = names of programs above it whose doings are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "make", "ninja", "cmake", "dpkg", "dpkg-deb", "dpkg-buildpackage", "apt",
  "rpm",
  "rpmbuild", "dnf", "yum", "pacman", "makepkg", "cargo", "npm", "git", "rsync", "tar", "mkinitramfs",
    "update-initramf",
  "dracut", "ldconfig", "configure", "ntpdate", "chronyd", "cloud-init" }))

local function by_touch(ev)
  local words = command.is(ev, { touch = true }) and ev.args or {}
  for i = 2, #words do
    if words[i]:find "^%-%a*[tdr]$" or words[i]:find "^%-%-date" or words[i]:find "^%-%-reference" then
      return "sets the times of " .. (words[#words] or "?")
    end
  end
end

local function by_clock(ev)
  local words = command.is(ev, { date = true }) and command.operands(ev.args, "dfrI") or {}
  return (words[1] and words[1]:find "^%d%d%d%d%d%d%d%d[%d.]*$" or command.flag(ev.args, "-s", "--set")
    and ev.comm == "date")
    and "sets the clock"
end

return mw.script {
  name = "timestomp",
  tags = { "attack.t1070.006" },
  needs = command.needs,
  on = {
    exec = mw.where { comm = { "touch", "date", "busybox" } }(function(ev)
      local what = ev.args and (by_touch(ev) or by_clock(ev))
      if what and not command.below(ev, ignore) then
        mw.alert { severity = "low", key = (ev.sid or "?") .. what, dedup = "1m", event = ev,
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end),
  },
}
