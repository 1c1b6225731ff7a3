-- A command that makes cron or at start something later.
-- Why: a line for cron survives a reboot and is easily overlooked. `crontab` with a file or its input, `at`, and
--   commands
--   that write below /etc/cron* or /var/spool/cron.
-- ATT&CK: T1053.003, T1053.002
-- False positives: administrators at work; configuration management and packages (`ignore`).
-- Not seen: a program or an editor that writes the file itself, and what is typed into a shell with a redirection.
-- Options: ignore = names of programs above it whose doings are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "apt-get", "rpm", "dnf", "yum", "zypper", "puppet",
  "chef-client",
  "salt-minion", "ansible", "cfagent" }))
local places = { "/etc/cron", "/var/spool/cron", "/etc/anacrontab", "/var/spool/at", "/usr/lib/cron" }

local function in_place(path)
  return command.begins(path, places)
end

-- crontab FILE, crontab -, | crontab, crontab -e; not crontab -l
local function by_crontab(ev)
  return command.is(ev, { crontab = true }) and ev.args and not command.flag(ev.args, "-l", "-V", "--help")
    and (command.flag(ev.args, "-r") and "removes a crontab" or "changes a crontab")
end

-- at TIME, batch; not atq, at -l, at -c
local function by_at(ev)
  return command.is(ev, { at = true, batch = true }) and ev.args
    and not command.flag(ev.args, "-l", "-c", "-r", "-d", "-V", "-b") and "starts something later"
end

-- chattr -i makes what was protected writable, +i keeps others from mending it.
local function by_chattr(ev)
  for _, path in ipairs(command.is(ev, { chattr = true }) and command.operands(ev.args) or {}) do
    if in_place(path) then
      return "changes the attributes of " .. path
    end
  end
end

return mw.script {
  name = "cron-persistence",
  tags = { "attack.t1053.003", "attack.t1053.002" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local path = command.writes_to(ev, in_place)
      local what = path and "writes " .. path or by_crontab(ev) or by_at(ev) or by_chattr(ev)
      if what and not command.below(ev, ignore) then
        mw.alert { severity = "medium", key = (ev.sid or ev.pid or "?") .. what, dedup = "1m", event = ev,
          tags = { command.is(ev, { at = true, batch = true }) and "attack.t1053.002" or "attack.t1053.003" },
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
