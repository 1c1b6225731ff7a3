-- Commands that ran for longer than a second, when they end: what took so long?
local mw = require "moonwatch"
local SLOW = 1.0

return mw.script {
  name = "slow-commands",
  on = {
    exit = function(ev)
      if ev.duration and ev.duration >= SLOW then
        print(("%8.2f s  %s"):format(ev.duration, ev.cmdline or ev.comm or ev.pid))
      end
    end,
  },
}
