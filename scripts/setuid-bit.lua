-- A command that makes a file setuid or setgid, or gives it capabilities.
-- Why: a shell or a program of one's own with this bit is root for everybody, long after the break-in.
-- ATT&CK: T1548.001
-- False positives: packages (`ignore`) and administrators who build from source; setgid of directories (2775) is left
--   out.
-- Not seen: chmod by a program itself.
-- Options: ignore = names of programs above it whose doings are left out; look = true (also `find -perm -4000`: low)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "apt-get", "rpm", "dnf", "yum", "zypper", "pacman",
  "snapd", "dockerd",
  "buildkitd", "tiger", "rkhunter", "lynis" }))
local look = mw.option("look", true)
local strong = { "cap_setuid", "cap_sys_admin", "cap_dac_", "cap_sys_ptrace", "cap_sys_module", "cap_net_raw",
  "cap_setgid", "=ep" }

-- "setuid" or "setgid", when the word is a mode that says so.
local function special(word)
  local digit = word:match "^0?([4-7])%d%d%d$"
  if digit or word:find "^[ugoa,+=rwxXt]*[u,a]?[+=][rwxX]*s" and not word:find "^g" then
    return "setuid"
  elseif word:find "^g[+=][rwx]*s" or word:find "^0?2%d%d%d$" and not word:find "^0?277[50]$" then
    return "setgid"
  end
end

local function mode_of(ev)
  for _, word in ipairs(command.operands(ev.args)) do
    local what = #word >= 2 and #word <= 64 and word:find "[%ds]" and special(word)
    if what then
      return what, word
    end
  end
end

local function judge(ev)
  if not ev.args then
    return nil
  elseif command.is(ev, { chmod = true, install = true }) then
    local what, word = mode_of(ev)
    if not what and command.is(ev, { install = true }) then
      word = command.flat(command.text(ev)):match "%-m *0?([4-7]%d%d%d)"
      what = word and "setuid"
    end
    return what and (what == "setuid" and "high" or "low"), what and ("makes a file %s (%s)"):format(what, word)
  elseif command.is(ev, { setcap = true }) and not command.flag(ev.args, "-r", "-v") then
    local cap = command.contains(command.text(ev):lower(), strong)
    return cap and "high" or "medium", "gives a file capabilities"
  elseif look and command.is(ev, { find = true })
    and command.flat(command.text(ev)):find "%-perm [-/+]?[0ug,=]*[246s]" then
    return command.flat(command.text(ev)):find "%-perm [-/]?[0]?[246]000" and "low"
      or command.flat(command.text(ev)):find "%-perm [-/]?[ug]=s" and "low" or nil,
      "looks for setuid files"
  end
end

return mw.script {
  name = "setuid-bit",
  tags = { "attack.t1548.001" },
  needs = command.needs,
  on = {
    exec = mw.where { comm = { "chmod", "install", "setcap", "find", "busybox" } }(function(ev)
      local severity, what = judge(ev)
      if severity and not command.below(ev, ignore) then
        mw.alert { severity = severity, key = (ev.sid or "?") .. what, dedup = "10s", event = ev,
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end),
  },
}
