-- A command that stops or weakens what protects the host: audit, logs, firewall, SELinux, agents, trusted certificates.
-- Why: comes just before what should not be seen. `stop`, `disable`, `mask` and kill of the units in `services`;
--   auditctl -D and -e 0, setenforce 0, ufw disable, iptables -F, ASLR off, and writes to their configuration.
-- ATT&CK: T1562.001, T1562.004, T1562.012, T1553.004
-- False positives: administrators and upgrades (`ignore` knows packages); a host that changes its firewall.
-- Not seen: an agent that is stopped by a signal from a program, or through D-Bus.
-- Options: services = parts of units' names; ignore = names of programs above it whose doings are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local services = mw.option("services", { "auditd", "rsyslog", "syslog", "journald", "falcon-sensor", "cbdaemon",
  "cbagentd", "ufw",
  "firewalld", "iptables", "nftables", "fail2ban", "apparmor", "clamav", "wazuh", "ossec", "osqueryd", "mdatp",
    "falco", "tetragon",
  "filebeat", "auditbeat", "packetbeat", "td-agent", "nessusd", "sysmon", "moonwatch", "pf" })
local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "apt-get", "rpm", "dnf", "yum", "zypper",
  "unattended-upgr", "snapd" }))
local managers = mw.set { "systemctl", "service", "chkconfig", "sysrc", "rc-service", "update-rc.d" }
local stops = mw.set { "stop", "disable", "mask", "kill", "off", "remove" }
local killers = mw.set { "kill", "killall", "pkill" }
local files = { "/etc/audit", "/etc/audisp/", "/etc/libaudit.conf", "/etc/rsyslog", "/etc/syslog", "/etc/ufw/",
  "/etc/default/ufw",
  "/etc/selinux/config", "/etc/systemd/journald.conf", "/etc/security/audit", "/etc/apparmor.d/",
    "/proc/sys/kernel/randomize_va_space",
  "/etc/fail2ban/", "/etc/hosts.deny", "/etc/hosts.allow", "/proc/sysrq-trigger" }

local function service_in(words)
  for i = 1, #words do
    local found = command.contains(words[i], services)
    if found then
      return found
    end
  end
end

local function by_manager(ev)
  local words = command.is(ev, managers) and command.operands(ev.args) or {}
  for i, word in ipairs(words) do
    if stops[word] or word:find '_enable="?NO' then
      local service = service_in(words)
      return service and ("%s of %s"):format(words[i], service)
    end
  end
  words = command.is(ev, killers) and command.operands(ev.args, "s") or {}
  return #words > 0 and service_in(words) and "kills " .. service_in(words)
end

-- name -> does this command line switch something off?
local switches = {
  auditctl = function(text) return text:find " %-D" or text:find " %-e *0" end,
  setenforce = function(text) return text:find " 0" or text:find " [Pp]ermissive" end,
  ufw = function(text) return text:find " disable" or text:find " reset" or text:find " logging off" end,
  iptables = function(text) return text:find " %-F" or text:find " %-%-flush" or text:find " %-D "
    or text:find " %-X" end,
  ip6tables = function(text) return text:find " %-F" or text:find " %-D " end,
  nft = function(text) return text:find "flush" or text:find "delete table" end,
  sysctl = function(text) return text:find "randomize_va_space *= *0" or text:find "kptr_restrict *= *0" end,
  swapoff = function(text) return text:find " %-a" end,
  mdatp = function(text) return text:find "disabled" end,
  ["update-ca-certificates"] = function() return true end,
  ["update-ca-trust"] = function(text) return not text:find " check" end,
  certctl = function(text) return text:find "rehash" or text:find " trust" end,
  ["aa-teardown"] = function() return true end,
}

local function by_switch(ev)
  local name = command.is(ev, switches)
  local text = name and command.flat(command.text(ev))
  return text and switches[name](text) and name .. " weakens the protection"
end

local function writes(ev)
  local path = command.writes_to(ev, function(path) return command.begins(path, files) end)
  return path and "writes " .. path
end

local function tag_of(what)
  if what:find "ca%-" or what:find "certctl" then
    return "attack.t1553.004"
  elseif what:find "audit" then
    return "attack.t1562.012"
  end
  return command.contains(what, { "ufw", "tables", "firewall", "nft" }) and "attack.t1562.004" or "attack.t1562.001"
end

return mw.script {
  name = "defence-off",
  tags = { "attack.t1562.001", "attack.t1562.004", "attack.t1562.012", "attack.t1553.004" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local what = by_switch(ev) or by_manager(ev) or writes(ev)
      if what and not command.below(ev, ignore) then
        mw.alert { severity = "high", key = (ev.sid or "?") .. what, dedup = "1m", event = ev,
          tags = { tag_of(what) },
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
