-- The hash of every program that is started, which takes time; in a storm, of the first of each, and sums.
local mw = require "moonwatch"

local function seconds(ev)
  return ev["until"] - ev.from
end

return mw.script {
  name = "storm",
  on = {
    exec = function(ev)
      local hash = ev:hash()
      print(("%s %s"):format(hash and hash.sha256 or "(gone too soon)", ev.exe or ev.comm))
    end,
    storm = function(ev)
      if ev.phase == "sum" then
        print(("%s: %d children in %.1f s, %d distinct comm"):format(
          ev.comm or "others", ev.children, seconds(ev), ev.distinct))
      else
        print("storm: " .. ev.phase)
      end
    end,
  },
}
