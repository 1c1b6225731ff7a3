-- Alert when something runs out of a directory that anybody can write to. `where` is tested in C:
-- events that do not fit cost no table.
local mw = require "moonwatch"

return mw.script {
  name = "exec-from-tmp",
  tags = { "attack.t1059" },
  on = {
    exec = mw.where { exe = mw.prefix("/tmp/", "/var/tmp/", "/dev/shm/") }(function(ev)
      mw.alert { severity = "medium", text = "runs " .. ev.exe, event = ev }
    end),
  },
}
