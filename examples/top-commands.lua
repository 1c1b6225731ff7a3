-- Count programs by name; tell the busiest every ten seconds and at the end.
local mw = require "moonwatch"
local counts = {}

local function report()
  local names = {}
  for name in pairs(counts) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return counts[a] > counts[b] end)
  for i = 1, math.min(10, #names) do
    print(("%6d  %s"):format(counts[names[i]], names[i]))
  end
  counts = {}
end

mw.every(10, report)
mw.at_exit(report)

return mw.script {
  name = "top-commands",
  on = { exec = function(ev) counts[ev.comm or "?"] = (counts[ev.comm or "?"] or 0) + 1 end },
}
