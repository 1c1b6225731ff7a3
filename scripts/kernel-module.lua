-- A command that loads or removes a kernel module, and who does it.
-- Why: a module of somebody else's is the end of all trust in what the kernel says, this program's events included.
-- ATT&CK: T1547.006, T1014
-- False positives: hardware that is plugged in and services that need a module: udev, systemd, the kernel itself and
--   the
--   usual helpers are left out (`ignore`), as far as they take modules by name.
-- Not seen: finit_module by a program of one's own.
-- Options: ignore = names of programs above it whose loading by name is left out; remove = true (also rmmod)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "systemd-udevd", "udevd", "systemd-modules", "kthreadd", "kworker", "dkms",
  "dpkg", "rpm", "dockerd", "containerd", "kubelet", "kube-proxy", "iptables", "ufw", "firewalld", "libvirtd", "mount",
  "NetworkManager", "wg-quick", "initramfs-tools", "update-initramf" }))
local remove = mw.option("remove", true)
local system = { "/lib/modules/", "/usr/lib/modules/" }

-- What happens to which module, or nil when the command only looks.
local function act_of(ev)
  local name = ev.args and command.is(ev, { insmod = true, modprobe = true, rmmod = true, kmod = true })
  local words = name and command.operands(ev.args, "CdS") or {}
  if name == "kmod" then
    name = words[1]
    table.remove(words, 1)
  end
  local what = words[1]
  if not what or name == "modprobe" and command.flag(ev.args, "-n", "--dry-run", "-D", "--show-depends", "-c",
    "-R") then
    return nil
  elseif name == "insmod" or name == "modprobe" and not command.flag(ev.args, "-r", "--remove") then
    return "loads", what
  elseif remove and (name == "rmmod" or name == "modprobe") then
    return "removes", what
  end
end

return mw.script {
  name = "kernel-module",
  tags = { "attack.t1547.006", "attack.t1014" },
  needs = command.needs,
  on = {
    exec = mw.where { comm = { "insmod", "modprobe", "rmmod", "kmod", "busybox" } }(function(ev)
      local act, what = act_of(ev)
      local a_file = what and what:find "[/.]ko%f[%W]" or what and what:find "/"
      local foreign = a_file and not command.begins(what, system)
      if act and (foreign or not command.below(ev, ignore)) then
        mw.alert { severity = foreign and "critical" or act == "loads" and "medium" or "low", key = act .. what,
          dedup = "1m",
          event = ev,
          text = ("%s the kernel module %s: %s"):format(act, what, command.who(ev)) }
      end
    end),
  },
}
