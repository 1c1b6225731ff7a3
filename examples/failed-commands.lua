-- Commands that failed or crashed, with the command that started them.
local mw = require "moonwatch"

return mw.script {
  name = "failed-commands",
  on = {
    exit = function(ev)
      if ev.execs == 0 or ev.code == 0 then
        return -- a shell's own copy, or all is well
      end
      local parent = ev.parent and ev.parent.cmdline or "?"
      local how = ev.signal and "signal " .. ev.signal or "exit " .. tostring(ev.code)
      print(("%s: %s (started by %s)"):format(how, ev.cmdline or ev.comm, parent))
    end,
  },
}
