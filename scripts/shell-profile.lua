-- A command that puts something into what each shell, login, Python or program start reads first.
-- Why: .bashrc, /etc/profile.d, python's .pth files, /etc/ld.so.preload and the like run again and again without a unit
--   or a line of cron.
-- ATT&CK: T1546.004, T1546.018, T1574.006
-- False positives: installers of developers' tools (nvm, rustup, conda) that add a line to .bashrc: low for users'
--   files.
-- Not seen: an editor or a program that writes the file itself, and redirections typed into a shell.
-- Options: ignore = names of programs above it whose doings are left out; users = true (also files of single users)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "dpkg", "apt", "apt-get", "rpm", "dnf", "yum", "useradd", "adduser",
  "cloud-init",
  "puppet", "chef-client", "salt-minion", "ansible" }))
local users = mw.option("users", true)
local of_user = { "/%.bashrc$", "/%.bash_profile$", "/%.bash_login$", "/%.bash_logout$", "/%.profile$", "/%.zshrc$",
  "/%.zshenv$",
  "/%.zprofile$", "/%.shrc$", "/%.kshrc$", "/%.config/fish/", "/%.config/autostart/", "/%.xprofile$", "/%.xinitrc$",
    "/%.pam_environment$" }
local of_all = { "^/etc/profile", "^/etc/bash", "^/etc/zsh", "^/etc/environment$", "^/etc/skel/",
  "^/etc/update%-motd%.d/",
  "^/etc/xdg/autostart/", "%.pth$", "/sitecustomize%.py$", "/usercustomize%.py$" }
local of_loader = { "^/etc/ld%.so%.preload$", "^/etc/ld%.so%.conf" }

local function fits(patterns)
  return function(path)
    for _, pattern in ipairs(patterns) do
      if path:find(pattern) then
        return true
      end
    end
  end
end

local sorts = { { fits(of_loader), "high", "attack.t1574.006" }, { fits(of_all), "medium", "attack.t1546.004" } }
if users then
  sorts[3] = { fits(of_user), "low", "attack.t1546.004" }
end

return mw.script {
  name = "shell-profile",
  tags = { "attack.t1546.004", "attack.t1546.018", "attack.t1574.006" },
  needs = command.needs,
  on = {
    exec = function(ev)
      for _, sort in ipairs(sorts) do
        local path = command.writes_to(ev, sort[1])
        if path then
          if not command.below(ev, ignore) then
            mw.alert { severity = sort[2], key = (ev.sid or "?") .. path, dedup = "1m", event = ev,
              tags = { path:find "py$" and "attack.t1546.018" or path:find "pth$" and "attack.t1546.018" or sort[3] },
              text = ("writes %s, which is run again and again: %s"):format(path, command.who(ev)) }
          end
          return
        end
      end
    end,
  },
}
