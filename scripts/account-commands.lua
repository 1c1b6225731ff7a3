-- A command that makes an account, gives it rights, a password or a shell, or changes who may use sudo.
-- Why: a second way in, or a way up. Administrator's groups, user id 0 and sudoers are high, the rest is medium.
-- ATT&CK: T1136.001, T1098, T1078.003, T1548.003
-- False positives: administrators; packages that make accounts for services (`ignore`): their accounts are left out.
-- Not seen: a program or an editor that writes the files itself.
-- Options: ignore = names of programs above it whose doings are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "apt-get", "rpm", "dnf", "yum", "zypper", "cloud-init",
  "puppet",
  "chef-client", "salt-minion", "ansible", "systemd-sysuser", "google_guest_ag" }))
local makers = mw.set { "useradd", "adduser", "newusers" }
local changers = mw.set { "usermod", "chpasswd", "chsh", "gpasswd", "vipw", "vigr", "userdel", "deluser", "pw" }
local admins = { "sudo", "wheel", "root", "admin", "docker", "lxd", "disk", "shadow" }
local strong = mw.set { "0", "sudo", "wheel", "root", "admin", "docker", "lxd", "disk" }
local editors = mw.set { "vi", "vim", "nano", "ee", "emacs", "ed", "pico", "joe" }
local files = { "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sudoers", "/usr/local/etc/sudoers",
  "/etc/pam.d/",
  "/etc/security/", "/etc/doas.conf", "/etc/polkit-1/" }

local function names_admins(groups)
  for group in groups:gmatch "[^, ]+" do
    if strong[group] then
      return true
    end
  end
end

-- -G a,b, -aG a,b, --groups=a,b, --gid 0
local function of_admins(ev)
  local words = ev.args
  local groups -- is this word the value of an option that takes groups?
  for i = 2, #words do
    local word = words[i]
    local option = word:sub(1, 1) == "-"
    if (groups or option) and names_admins(option and word:match "^%-%-groups?=(.*)" or groups and word or "") then
      return true
    end
    groups = option and (word:find "^%-%a*[gG]$" or word:find "^%-%-g") ~= nil
  end
  return command.flag(words, "-o", "--non-unique") or command.flat(command.text(ev)):find "%-u *0%f[%D]"
    or command.is(ev, { gpasswd = true, adduser = true }) and command.contains(words[#words], admins) and #words > 2
end

-- severity, technique and what
local function judge(ev)
  local path = command.writes_to(ev, function(path) return command.begins(path, files) end)
  for _, operand in ipairs(not path and command.is(ev, editors) and command.operands(ev.args) or {}) do
    path = operand:sub(1, 1) == "/" and command.begins(operand, files) and operand or path
  end
  if path then
    return "high", path:find "sudoers" and "attack.t1548.003" or "attack.t1098", "writes or edits " .. path
  elseif not ev.args or command.flag(ev.args, "-h", "--help", "-D", "--defaults") and not command.is(ev,
    { pw = true }) then
    return nil
  elseif command.is(ev, makers) or command.is(ev, { pw = true }) and command.contains(command.text(ev), { "useradd",
    "user add" }) then
    return of_admins(ev) and "high" or "medium", "attack.t1136.001", "makes an account"
  elseif command.is(ev, changers) then
    return of_admins(ev) and "high" or "medium", "attack.t1098", "changes accounts"
  elseif command.is(ev, { passwd = true }) and command.operands(ev.args)[1] and not command.flag(ev.args, "-S",
    "--status") then
    return "medium", "attack.t1098", "changes the password of another account"
  elseif command.is(ev, { visudo = true }) and not command.flag(ev.args, "-c", "--check") then
    return "medium", "attack.t1548.003", "edits who may use sudo"
  end
end

return mw.script {
  name = "account-commands",
  tags = { "attack.t1136.001", "attack.t1098", "attack.t1078.003", "attack.t1548.003" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local severity, technique, what = judge(ev)
      if severity and not command.below(ev, ignore) then
        mw.alert { severity = severity, key = (ev.sid or "?") .. what, dedup = "10s", event = ev, tags = { technique },
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
