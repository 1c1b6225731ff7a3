-- A command that makes systemd, init or rc.local start something at boot or later.
-- Why: a unit of one's own survives a reboot and runs as root. Units that are written, linked, enabled from where
--   anybody
--   can write, timers made by systemd-run, update-rc.d, chkconfig; `enable` of an ordinary unit by a shell is low.
-- ATT&CK: T1543.002, T1053.006, T1037.004
-- False positives: administrators at work; packages and configuration management (`ignore`).
-- Not seen: a program that writes the unit itself or asks systemd over D-Bus; redirections typed into a shell.
-- Options: ignore = names of programs above it whose doings are left out; enable = true (tell of `systemctl enable`
--   too)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "apt-get", "rpm", "dnf", "yum", "zypper", "puppet",
  "chef-client",
  "salt-minion", "ansible", "cloud-init", "deb-systemd-hel", "deb-systemd-inv", "snapd" }))
local enable = mw.option("enable", true)
local places = { "/etc/systemd/", "/usr/lib/systemd/", "/lib/systemd/", "/run/systemd/system/", "/etc/init.d/",
  "/etc/rc",
  "/usr/local/etc/rc.d/", "/etc/init/" }
local writable = { "/tmp/", "/var/tmp/", "/dev/shm/" }
local not_units = { "/etc/systemd/journald.conf", "/etc/systemd/system.conf", "/etc/systemd/resolved.conf" }

local function is_unit(path)
  return (command.begins(path, places) and not command.begins(path, not_units))
    or path:find "%.config/systemd/user/.+%.%a+$"
end

local function writes(ev)
  local path = command.writes_to(ev, is_unit)
  return path and ("writes " .. path), "medium"
end

-- systemctl link /tmp/x.service, systemctl enable x
local function by_systemctl(ev)
  local words = command.is(ev, { systemctl = true }) and command.operands(ev.args, "tHMno")
  local verb = words and words[1]
  if verb == "link" or (verb == "enable" and words[2] and words[2]:find "^/") then
    local odd = command.begins(words[2], writable)
    return ("%ss the unit %s"):format(verb, words[2] or "?"), odd and "high" or "medium"
  elseif enable and (verb == "enable" or verb == "reenable") then
    return "enables " .. table.concat(words, " ", 2), "low"
  end
end

local function by_run(ev)
  return command.is(ev, { ["systemd-run"] = true })
    and command.flag(ev.args, "--on-calendar", "--on-active", "--on-boot", "--on-startup", "--on-unit-active",
      "--timer-property")
    and "makes a timer", "medium"
end

local function by_init(ev)
  local verb = command.is(ev, { ["update-rc.d"] = true, chkconfig = true }) and command.operands(ev.args)[2]
  return (verb == "defaults" or verb == "enable" or verb == "on" or command.flag(ev.args, "--add")
    and ev.comm == "chkconfig")
    and "enables a script of init", "low"
end

return mw.script {
  name = "service-persistence",
  tags = { "attack.t1543.002", "attack.t1053.006", "attack.t1037.004" },
  needs = command.needs,
  on = {
    exec = function(ev)
      for _, find in ipairs { writes, by_systemctl, by_run, by_init } do
        local what, severity = find(ev)
        if what then
          if not command.below(ev, ignore) then
            mw.alert { severity = severity, key = (ev.sid or "?") .. what, dedup = "1m", event = ev,
              tags = { find == by_run and "attack.t1053.006" or "attack.t1543.002" },
              text = ("%s: %s"):format(what, command.who(ev)) }
          end
          return
        end
      end
    end,
  },
}
