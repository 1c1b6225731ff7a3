-- The smallest script: one line per program that is started.
local mw = require "moonwatch"

return mw.script {
  name = "hello",
  on = {
    exec = function(ev)
      print(ev.pid, ev.euid, ev.cmdline or ev.comm)
    end,
  },
}
