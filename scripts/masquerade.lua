-- A process that wants to be taken for another: a kernel thread, a service of the system, a picture.
-- Why: a name is what people see first in ps.
-- ATT&CK: T1036.004, T1036.005, T1036.006, T1036.007, T1564.001
-- False positives: containers and build roots with programs of the system below other directories (`dirs`); servers
--   that
--   set their own titles (nginx: worker) are left out, as their names go on with a colon.
-- Not seen: a name that is not one of the system's.
-- Options: dirs = where programs of the system may be; hidden = true (programs in hidden directories: low)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local dirs = mw.option("dirs", { "/usr/", "/bin/", "/sbin/", "/lib", "/opt/", "/snap/", "/nix/store/",
  "/var/lib/docker/",
  "/var/lib/containers/", "/run/host/", "/app/", "/proc/self/", "/init" })
local hidden = mw.option("hidden", true)
local services = mw.set { "systemd", "systemd-journald", "systemd-logind", "systemd-udevd", "systemd-resolved",
  "sshd", "cron", "crond",
  "atd", "dbus-daemon", "rsyslogd", "agetty", "login", "init", "kthreadd", "udevd", "polkitd", "auditd", "irqbalance",
  "NetworkManager", "snapd", "dhclient", "ntpd", "chronyd", "containerd", "dockerd", "kubelet" }
local pictures = { "pdf", "png", "jpg", "jpeg", "gif", "doc", "docx", "xls", "xlsx", "txt", "mp4", "zip" }
local usual = { "/.local/", "/.cache/", "/.cargo/", "/.rustup/", "/.nvm/", "/.pyenv/", "/.vscode", "/.npm/",
  "/.config/", "/.rbenv/",
  "/.venv/", "/.asdf/", "/.mount_", "/.sdkman/", "/.dotnet/", "/.bun/", "/.deno/", "/.go/", "/.yarn/", "/.git/",
    "/.build/", "/.tox/",
  "/.conda/", "/.linuxbrew/", "/.steam/", "/.wine/", "/.gradle/", "/.julia/", "/.opam/", "/.ghcup/", "/.cabal/",
    "/.stack/" }

-- Kernel threads have no file; [name] and kworker/... are theirs.
local function like_kernel(name)
  return name and (name:find "^%[.+%]$" or name:find "^kworker/" or name:find "^ksoftirqd/" or name:find "^kthreadd$"
    or name:find "^migration/%d" or name:find "^rcu_[a-z]+$")
end

local function judge(ev)
  local exe = ev.exe
  local file = exe and command.base(exe)
  local script = ev.args and (ev.args[2] or ""):find "^[^-]" and command.is(ev, command.shells) and ev.args[2] or nil
  if exe and (like_kernel(ev.comm) or ev.args and like_kernel(ev.args[1])) and not command.begins(exe,
    { "/proc/" }) then
    return "high", "attack.t1036.004", "calls itself a kernel thread, but is " .. exe
  elseif exe and services[file] and not command.begins(exe, dirs) then
    return "high", "attack.t1036.005", "has the name of a service of the system, but is " .. exe
  elseif exe and (exe:find " $" or exe:find " /") or script and script:find " $" then
    return "medium", "attack.t1036.006", "has a name that ends in a blank"
  elseif exe and (exe:find "/%.%.+ */" or exe:find "/%. /") then
    return "high", "attack.t1036.005", "runs from a directory that hides among . and .."
  end
  for _, name in ipairs { file or "", script or "" } do
    local first, last = name:match "%.(%w+)%.(%w+)$"
    local only = name:match "%.(%w+)$"
    for _, picture in ipairs(pictures) do
      if first == picture and (last == "sh" or last == "py" or last == "elf" or last == "run") or only == picture then
        return "medium", "attack.t1036.007", "looks like a document, but runs: " .. name
      end
    end
  end
  if hidden and exe and exe:find "/%.[^./]" and not command.contains(exe, usual) then
    return "low", "attack.t1564.001", "runs from a hidden directory, " .. exe
  end
end

local function tell(ev)
  local severity, technique, what = judge(ev)
  if severity then
    mw.alert { severity = severity, key = (ev.exe or "") .. what, dedup = "5m", event = ev, tags = { technique },
      text = ("%s: %s"):format(what, command.who(ev)) }
  end
end

return mw.script {
  name = "masquerade",
  tags = { "attack.t1036.004", "attack.t1036.005", "attack.t1036.006", "attack.t1036.007", "attack.t1564.001" },
  needs = command.needs,
  on = {
    exec = tell,
    comm = function(ev)
      if like_kernel(ev.comm) then
        tell(ev)
      end
    end,
  },
}
