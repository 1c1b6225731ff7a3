-- A process that becomes root without one of the programs that are there for it.
-- Why: a planted setuid program, or a hole in the kernel or in a service, ends in an effective user id of 0. The change
--   of a setuid program comes just before its exec: so the exec is waited for, and names the program.
-- ATT&CK: T1548.001, T1068
-- False positives: services that put root aside for a while under names that `helpers` lacks.
-- Not seen: root that was gained before the watch; capabilities without the user id; a helper that is misused
--   (sudoedit).
-- Options: helpers = names of programs that may; wait = 0.5 (seconds for the exec after the change)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local helpers = mw.set(mw.option("helpers", { "sudo", "su", "doas", "pkexec", "newgrp", "sg", "gpasswd", "passwd",
  "chsh", "chfn",
  "chage", "expiry", "mount", "umount", "mount.nfs", "mount.cifs", "fusermount", "fusermount3", "ntfs-3g", "ping",
    "ping6",
  "traceroute", "at", "crontab", "ssh-keysign", "dbus-daemon-lau", "dbus-daemon-launch-helper", "polkit-agent-he",
  "polkit-agent-helper-1", "unix_chkpwd", "pam_timestamp_check", "Xorg", "Xorg.wrap", "newuidmap", "newgidmap", "bwrap",
  "chrome-sandbox", "snap-confine", "firejail", "sshd", "sshd-session", "cron", "crond", "atd", "login", "exim",
    "exim4", "sendmail",
  "vsftpd", "pppd", "screen", "dumpcap", "userhelper", "run0", "systemd", "(systemd)" }))
local wait = mw.option("wait", 0.5)
local system = { "/usr/", "/bin/", "/sbin/", "/lib", "/opt/", "/snap/", "/nix/store/" }

local waiting, waiting_count = {}, 0 -- [id of the process] = { user id before, the event }

local function tell(ev, before, how)
  local elsewhere = not command.begins(ev.exe, system)
  mw.alert { severity = elsewhere and "critical" or "high", key = ev.exe or ev.id, dedup = "1m", event = ev,
    text = ("user %s became root %s %s: %s"):format(before, how, ev.exe or ev.comm or "?", command.who(ev)) }
end

local function may(ev)
  return command.is(ev, helpers) and (not ev.exe or command.begins(ev.exe, system))
end

local function forget(id)
  local entry = waiting[id]
  if entry then
    waiting[id], waiting_count = nil, waiting_count - 1
  end
  return entry
end

local function became_root(ev)
  local before = ev.was and ev.was.euid
  if not before or before == 0 or ev.was.uid == 0 or not ev.id or waiting_count >= 1000 then
    return
  end
  waiting_count = waiting_count + (waiting[ev.id] and 0 or 1)
  waiting[ev.id] = { before = before, event = ev }
  mw.after(wait, function()
    local entry = forget(ev.id)
    if entry and not may(ev) then -- no exec: it changed by a call
      tell(ev, entry.before, "by a call in")
    end
  end)
end

return mw.script {
  name = "setuid-gain",
  tags = { "attack.t1548.001", "attack.t1068" },
  needs = command.needs,
  on = {
    uid = mw.where { euid = 0 }(became_root),
    exec = function(ev)
      local entry = ev.id and forget(ev.id)
      if entry and ev.euid == 0 and not may(ev) then
        tell(ev, entry.before, "by the program")
      end
    end,
  },
}
