-- Add to events what later scripts and the output see: run it before others, as in
-- `moonwatch run examples/enrich.lua examples/hello.lua`.
local mw = require "moonwatch"

return mw.script {
  name = "enrich",
  on = {
    exec = function(ev)
      local login = ev:ancestor { comm = { "sshd", "login", "gdm-session-wor" } }
      ev.via = login and login.comm or "local"
      mw.emit(ev)
    end,
  },
}
