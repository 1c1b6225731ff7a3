-- Who ran what: every program that stems from a login or a terminal, one line each, as an audit trail.
-- What: time, login user id (and the effective one where it differs), terminal, directory, command.
-- Why: the login user id stays the same through su and sudo. ATT&CK: T1059 (to review, not to alert).
-- Known gaps: jobs of cron and services have neither login nor terminal and are left out.
local mw = require "moonwatch"

local function who(ev)
  local login = ev.loginuid or ev.uid or "?"
  return ev.euid and ev.euid ~= login and ("%s as %s"):format(login, ev.euid) or tostring(login)
end

return mw.script {
  name = "who-ran-what",
  tags = { "attack.t1059" },
  on = {
    exec = function(ev)
      if ev.loginuid or ev.tty then
        print(("%s  %-10s %-8s %s$ %s"):format(os.date("%F %T", math.floor(ev.time)), who(ev), ev.tty or "-",
          ev.cwd or "?", ev.cmdline or ev.comm or ev.pid))
      end
    end,
  },
}
