-- How many alerts were told, by their keys: for who wants to know what a script makes of a day without an incident.
local core = require("moonwatch")._core

local tally = {}

local KEYS = 10000 -- what comes later is counted as others
local counts, keys, others = {}, 0, 0

local function add(key)
  if not counts[key] and keys == KEYS then
    others = others + 1
    return
  end
  keys = keys + (counts[key] and 0 or 1)
  counts[key] = (counts[key] or 0) + 1
end

---From now on what is told is counted; by its text when it has no key. Before the script is loaded.
function tally.listen()
  local alert = core._alert
  function core._alert(severity, text, event, tags, key, ...)
    alert(severity, text, event, tags, key, ...)
    add(tostring(key or text or "neither key nor text"))
  end
end

---The keys of most alerts, and how many they are: { { 12, "nginx" }, ... }
---@param most integer
---@return table[]
function tally.most(most)
  local list = {}
  for key, count in next, counts do
    list[#list + 1] = { count, key }
  end
  table.sort(list, function(a, b)
    return a[1] > b[1] or a[1] == b[1] and a[2] < b[2]
  end)
  local left = others
  for i = most + 1, #list do
    left = left + list[i][1]
    list[i] = nil
  end
  if left > 0 then
    list[#list + 1] = { left, "others" }
  end
  return list
end

return tally
