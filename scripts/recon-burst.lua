-- Many different commands that look around, within minutes, in one session.
-- Why: who came in for the first time asks who he is, what host this is, who else is there, and what there is to take.
--   Any
--   one of these is harmless; many different ones from one session are not usual.
-- ATT&CK: T1082, T1033, T1016, T1057, T1087.001
-- False positives: facter, inventory and monitoring agents, login messages (`ignore`); an administrator on a new host.
-- Not seen: what is read with the shell alone (echo *, read < /etc/passwd), and a program that asks by itself.
-- Options: commands = 7 (different ones); span = 3m (within); ignore = names of programs above it that are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local commands = mw.option("commands", 7)
local span = mw.option("span", "3m")
local ignore = mw.set(mw.option("ignore", { "facter", "ohai", "ansible", "puppet", "chef-client", "salt-minion",
  "zabbix_agentd", "nrpe", "run-parts", "update-motd", "landscape-sysin", "cloud-init", "sosreport", "sos", "configure",
  "dpkg", "apt", "rpm", "make", "sshd-motd", "neofetch", "reportbug", "munin-node", "telegraf", "node_exporter" }))

local always = mw.set { "whoami", "id", "w", "who", "users", "last", "lastlog", "uname", "hostname", "hostnamectl",
  "lsb_release",
  "ifconfig", "arp", "netstat", "ss", "route", "ps", "pstree", "lsof", "env", "printenv", "groups", "getent",
    "lsmod", "lscpu",
  "lspci", "lsusb", "lsblk", "dmidecode", "df", "findmnt", "arch", "uptime", "nmap", "locate", "smbstatus", "showmount",
  "systemd-detect-virt", "rpm", "getcap", "sockstat", "finger", "ldapsearch", "localectl", "locale", "ping" }
local files = { "/etc/passwd", "/etc/group", "/etc/issue", "/etc/os-release", "/etc/shells", "/etc/fstab", "/etc/hosts",
  "/etc/sudoers", "/etc/crontab", "/etc/pam.d", "/etc/login.defs", "/proc/version", "/proc/cpuinfo",
    "/etc/resolv.conf" }
local readers = mw.set { "cat", "head", "tail", "less", "more", "grep", "egrep", "strings", "cut", "awk" }

-- What it asks about: a name, so that the same question twice is one.
local function question(ev)
  local name = command.is(ev, always)
  if name or not ev.args then
    return name
  end
  if command.is(ev, readers) then
    return command.contains(command.text(ev), files)
  elseif command.is(ev, { ip = true }) then
    return "ip " .. command.cut(command.operands(ev.args)[1] or "", 20)
  elseif command.is(ev, { find = true }) then
    return command.contains(command.text(ev), { "-perm", "-name", "-iname", "-writable", "-user" }) and "find" or nil
  elseif command.is(ev, { sudo = true, crontab = true }) then
    return command.flag(ev.args, "-l") and "sudo or crontab -l" or nil
  elseif command.is(ev, { systemctl = true, docker = true }) then
    return command.contains(command.operands(ev.args)[1], { "list-", "ps", "images" }) and "services" or nil
  end
end

local asked = mw.window { span = span }

return mw.script {
  name = "recon-burst",
  tags = { "attack.t1082", "attack.t1033", "attack.t1016", "attack.t1057", "attack.t1087.001" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local what = ev.sid and question(ev)
      if not what or command.below(ev, ignore) then
        return
      end
      asked:add(ev.sid, what)
      local count = asked:distinct(ev.sid)
      if count >= commands then
        local all = asked:values(ev.sid)
        table.sort(all)
        mw.alert { severity = "medium", key = ev.sid, dedup = "10m", event = ev, tags = { "attack.t1082",
          "attack.t1033" },
          text = ("%d ways of looking around within %s in session %d (%s): %s"):format(count, span, ev.sid,
            command.cut(table.concat(all, ", ")), command.who(ev)) }
      end
    end,
  },
}
