-- A process whose effective user id becomes 0, and who it was before.
local mw = require "moonwatch"

return mw.script {
  name = "became-root",
  tags = { "attack.t1548" },
  on = {
    uid = mw.where { euid = 0 }(function(ev)
      if ev.was and ev.was.euid and ev.was.euid ~= 0 then
        mw.alert { severity = "high", text = ("user id %d became root"):format(ev.was.euid), event = ev }
      end
    end),
  },
}
