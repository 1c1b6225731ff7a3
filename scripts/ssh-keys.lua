-- A command that lets somebody in by SSH: writes authorized_keys or the configuration of sshd.
-- Why: a key of one's own is the quietest way back in, and works when the password is changed.
-- ATT&CK: T1098.004
-- False positives: ssh-copy-id and administrators; cloud-init and configuration management (`ignore`).
-- Not seen: an editor or a program that writes the file itself, and redirections typed into a shell.
-- Options: ignore = names of programs above it whose doings are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "cloud-init", "puppet", "chef-client", "salt-minion", "ansible",
  "google_guest_ag",
  "waagent", "dpkg" }))

local function is_key(path)
  return path:find "authorized_keys2?$" or path:find "^/etc/ssh/sshd_config" or path:find "^/etc/ssh/.*%.pub$"
    or path:find "%.ssh/rc$" or path == "/etc/ssh/sshrc"
end

-- chattr hides what was written from a cleanup; chmod of the file comes right after it
local function prepares(ev)
  if not command.is(ev, { chattr = true }) then
    return nil
  end
  for _, path in ipairs(command.operands(ev.args)) do
    if is_key(path) then
      return path
    end
  end
end

return mw.script {
  name = "ssh-keys",
  tags = { "attack.t1098.004" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local path = command.writes_to(ev, is_key) or prepares(ev)
      if path and not command.below(ev, ignore) then
        mw.alert { severity = "high", key = (ev.sid or "?") .. path, dedup = "1m", event = ev,
          text = ("changes %s: %s"):format(path, command.who(ev)) }
      end
    end,
  },
}
