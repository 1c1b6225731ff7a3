-- The alerts that a test expects, beside those that its script told.
--
-- `alerts` of a test is a list: each entry names what it cares about, { severity, text, key, tags, event = { comm,
-- parent = { ... }, ... } }, and stands for one alert that fits, in any order. What is told is noted as it is told, as
-- far as the list looks at it: a script may change an event later.
local mw = require "moonwatch"
local meant = require "moonwatch.meant"

local core = mw._core
local expect = {}

local of_alert = mw.set { "severity", "text", "key", "tags", "event" }
local nested = { parent = true, was = true } -- tables within an event

local SHOWN = 20 -- of each kind: a script that is wrong may tell thousands
local TEXT_SHOWN = 200 -- bytes

local told, script_tags = {}, nil

local function is_list(value)
  local n = 0
  for _ in next, type(value) == "table" and value or {} do
    n = n + 1
  end
  return type(value) == "table" and n == #value
end

-- --- noting ----------------------------------------------------------------------------------

-- Adds to `shape` what the event of an entry looks at: { comm = true, parent = { exe = true } }.
local function add_shape(event, shape)
  for key, value in next, event do
    if nested[key] and type(value) == "table" then
      shape[key] = add_shape(value, type(shape[key]) == "table" and shape[key] or {})
    elseif not nested[key] then
      shape[key] = true
    end
  end
  return shape
end

local function get(event, key)
  return event[key]
end

local function copied(event, shape)
  if type(event) ~= "table" then
    return nil
  end
  local copy = {}
  for key, deeper in next, shape do
    local ok, value = pcall(get, event, key)
    if ok and type(deeper) == "table" then
      copy[key] = copied(value, deeper)
    elseif ok and type(value) == "table" then
      copy[key] = { unpack(value, 1, math.min(#value, 1000)) }
    elseif ok then
      copy[key] = value
    end
  end
  return copy
end

---From now on what is told is noted. Before the script is loaded, and before the list was checked.
---@param alerts any  of the test
function expect.listen(alerts)
  local shape = { type = true, pid = true, comm = true }
  for _, entry in ipairs(type(alerts) == "table" and alerts or {}) do
    if type(entry) == "table" and type(entry.event) == "table" then
      add_shape(entry.event, shape)
    end
  end
  local subscribe, alert = core._subscribe, core._alert
  function core._subscribe(name, on, threads, script)
    script_tags = script.tags
    return subscribe(name, on, threads, script)
  end
  function core._alert(severity, text, event, tags, key, ...)
    alert(severity, text, event, tags, key, ...)
    tags = type(tags) == "table" and tags or script_tags
    told[#told + 1] = {
      severity = severity,
      text = text ~= nil and tostring(text) or nil,
      key = key,
      tags = type(tags) == "table" and { unpack(tags, 1, math.min(#tags, 1000)) } or nil,
      event = copied(event, shape),
    }
  end
end

-- --- checking ----------------------------------------------------------------------------------

-- What is wrong with a part of an entry, or nil.
local function part_problem(name, value)
  local kind = type(value)
  if name == "event" then
    return kind ~= "table" and "is a table of fields"
  elseif name == "tags" then
    return not (kind == "function" or is_list(value)) and "is a list of texts"
  end
  local fits = kind == "string" or kind == "number" or kind == "function"
  return not fits and 'is a text, or a pattern such as mw.match.glob "..."'
end

---What is wrong with the list, or nil.
---@param alerts any[]
---@return string?
function expect.problem(alerts)
  if not is_list(alerts) then
    return "`alerts` is a whole number, or a list of tables, one for each alert"
  end
  for i, entry in ipairs(alerts) do
    if type(entry) ~= "table" then
      return ("`alerts` holds a %s at %d, but an alert is a table of what it has"):format(type(entry), i)
    end
    for name, value in next, entry do
      if not of_alert[name] then
        return ("alerts[%d]: an alert has no '%s'%s"):format(i, tostring(name), meant(name, "", of_alert))
      end
      local problem = part_problem(name, value)
      if problem then
        return ("alerts[%d]: `%s` %s, not a %s"):format(i, name, problem, type(value))
      end
    end
  end
end

-- --- comparing ---------------------------------------------------------------------------------

-- A value; a list, of which each is to fit; or a predicate, such as mw.match makes them.
local function fits(want, value)
  if type(want) == "function" then
    local ok, result = pcall(want, value)
    return ok and result and true or false
  elseif type(want) ~= "table" then
    return want == value
  elseif type(value) ~= "table" or #want ~= #value then
    return false
  end
  for i, one in ipairs(want) do
    if not fits(one, value[i]) then
      return false
    end
  end
  return true
end

local function event_fits(want, event)
  if type(event) ~= "table" then
    return false
  end
  for key, one in next, want do
    local compare = nested[key] and type(one) == "table" and event_fits or fits
    if not compare(one, event[key]) then
      return false
    end
  end
  return true
end

local function has(list, want)
  for _, one in ipairs(list or {}) do
    if fits(want, one) then
      return true
    end
  end
  return false
end

local compare = {
  event = event_fits,
  severity = fits,
  -- 7 is told as "7"
  text = function(want, value)
    return fits(type(want) == "number" and tostring(want) or want, value)
  end,
  -- each of these is among them
  tags = function(want, value)
    if type(want) == "function" then
      return has(value, want)
    end
    for _, one in ipairs(want) do
      if not has(value, one) then
        return false
      end
    end
    return true
  end,
}
compare.key = compare.text

-- How many parts of the entry fit, and whether all do.
local function likeness(entry, alert)
  local count, all = 0, true
  for name, want in next, entry do
    local fit = compare[name](want, alert[name])
    count, all = count + (fit and 1 or 0), all and fit
  end
  return count, all
end

-- Which entry stands for which alert, so that as many as possible do: an entry that many fit leaves to another one what
-- only that can have.
local function assign(alerts)
  local candidates, of_alert_no, of_entry = {}, {}, {}
  for i, entry in ipairs(alerts) do
    candidates[i] = {}
    for j, alert in ipairs(told) do
      if select(2, likeness(entry, alert)) then
        table.insert(candidates[i], j)
      end
    end
  end
  local function find(i, tried)
    for _, j in ipairs(candidates[i]) do
      if not tried[j] then
        tried[j] = true
        if not of_alert_no[j] or find(of_alert_no[j], tried) then
          of_alert_no[j], of_entry[i] = i, j
          return true
        end
      end
    end
    return false
  end
  for i = 1, #alerts do
    find(i, {})
  end
  return of_entry, of_alert_no
end

-- --- showing ------------------------------------------------------------------------------------

local show

-- A text as a test may have it; what steers a terminal is shown by whoever prints it.
local function show_text(text)
  local cut = #text > TEXT_SHOWN and text:sub(1, TEXT_SHOWN) or text
  return '"' .. cut:gsub('[\\"]', "\\%0") .. (#cut < #text and ('..." (%d bytes)'):format(#text) or '"')
end

local function show_list(list)
  local shown = {}
  for i = 1, math.min(#list, SHOWN) do
    shown[i] = show(list[i])
  end
  if #list > SHOWN then
    shown[#shown + 1] = "..."
  end
  return #shown > 0 and "{ " .. table.concat(shown, ", ") .. " }" or "{}"
end

function show(value)
  if type(value) == "string" then
    return show_text(value)
  elseif type(value) == "number" then
    return ("%.14g"):format(value)
  elseif type(value) == "table" then
    return show_list(value)
  end
  return type(value) == "function" and "<pattern>" or tostring(value)
end

local function sorted_keys(shape)
  local keys = {}
  for key in next, shape do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- `shape`: also what it looks at and the event lacks.
local function show_event(event, shape)
  local shown = {}
  for _, key in ipairs(sorted_keys(shape)) do
    local value, deeper = event[key], shape[key]
    local is_table = nested[key] and type(value) == "table"
    local text = is_table and show_event(value, type(deeper) == "table" and deeper or value) or show(value)
    shown[#shown + 1] = ("%s = %s"):format(tostring(key), text)
  end
  return "{ " .. table.concat(shown, ", ") .. " }"
end

local function show_alert(alert, shape)
  local shown = {}
  for _, name in ipairs { "severity", "text", "key", "tags" } do
    local value = alert[name]
    if value ~= nil and not (name == "tags" and type(value) == "table" and #value == 0) then
      shown[#shown + 1] = ("%s = %s"):format(name, show(alert[name]))
    end
  end
  if alert.event ~= nil then
    shown[#shown + 1] = "event = " .. show_event(alert.event, shape or alert.event)
  end
  return "{ " .. table.concat(shown, ", ") .. " }"
end

-- Of the alerts that nobody wanted, the one that is most like the entry.
local function most_alike(entry, free)
  local best, best_count = nil, 0
  for j, alert in ipairs(told) do
    local count = free[j] and likeness(entry, alert) or 0
    if count > best_count then
      best, best_count = j, count
    end
  end
  return best
end

local function missing_lines(alerts, of_entry, free, lines)
  local left = 0
  for i, entry in ipairs(alerts) do
    if not of_entry[i] and left < SHOWN then
      lines[#lines + 1] = "- " .. show_alert(entry)
      local like = most_alike(entry, free)
      if like then
        free[like] = nil
        local shape = entry.event and add_shape(entry.event, { comm = true, pid = true })
        lines[#lines + 1] = "+ " .. show_alert(told[like], shape)
      end
    end
    left = left + (of_entry[i] and 0 or 1)
  end
  if left > SHOWN then
    lines[#lines + 1] = ("- and %d more"):format(left - SHOWN)
  end
end

local function extra_lines(free, lines)
  local left = 0
  for j = 1, #told do
    if free[j] and left < SHOWN then
      lines[#lines + 1] = "+ " .. show_alert(told[j])
    end
    left = left + (free[j] and 1 or 0)
  end
  if left > SHOWN then
    lines[#lines + 1] = ("+ and %d more"):format(left - SHOWN)
  end
end

---What is wanted and was not told, what was told and is not wanted; nil: nothing. A wanted one is followed by the one
---that is most like it.
---@param alerts any[]
---@return string[]?
function expect.difference(alerts)
  local of_entry, of_alert_no = assign(alerts)
  local fit, free = 0, {}
  for j = 1, #told do
    fit = fit + (of_alert_no[j] and 1 or 0)
    free[j] = not of_alert_no[j] or nil
  end
  if fit == #alerts and fit == #told then
    return nil
  end
  local lines = { ("%d alerts wanted, %d told, %d of them as wanted; wanted -, told +"):format(#alerts, #told, fit) }
  missing_lines(alerts, of_entry, free, lines)
  extra_lines(free, lines)
  return lines
end

return expect
