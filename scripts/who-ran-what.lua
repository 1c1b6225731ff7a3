-- Every program that stems from a login or a terminal, one line each, as an audit trail.
-- Why: time, login user id (and the effective one where it differs), terminal, directory, command. The login user id
--   stays the same through su and sudo.
-- ATT&CK: T1059
-- False positives: none: it is to be read, not to alert.
-- Not seen: jobs of cron and services, which have neither login nor terminal; what is built into a shell.
-- Options: users = all (user ids of logins); ignore = none (texts: command lines that contain one are left out);
--   services = false (also what has neither login nor terminal)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local users = mw.set(mw.option("users", {}))
local ignore = mw.option("ignore", {})
local services = mw.option("services", false)

local function who(ev)
  local login = ev.loginuid or ev.uid or "?"
  return ev.euid and ev.euid ~= login and ("%s as %s"):format(login, ev.euid) or tostring(login)
end

local function asked_for(ev)
  return (ev.loginuid or ev.tty or services)
    and (not next(users) or users[tostring(ev.loginuid or ev.uid)])
    and not command.contains(command.text(ev), ignore)
end

return mw.script {
  name = "who-ran-what",
  tags = { "attack.t1059" },
  on = {
    exec = function(ev)
      if asked_for(ev) then
        print(("%s  %-10s %-8s %s$ %s"):format(os.date("%F %T", math.floor(ev.time)), who(ev), ev.tty or "-",
          ev.cwd or "?", ev.cmdline or ev.comm or ev.pid))
      end
    end,
  },
}
