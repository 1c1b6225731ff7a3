-- The library that scripts see as `require "moonwatch"`: what C gives, and what is easier in Lua.
local core = debug.getregistry().moonwatch
local methods = core._methods

local mw = {
  where = core.where,
  emit = core.emit,
  log = core.log,
  every = core.every,
  after = core.after,
  cancel = core.cancel,
  at_exit = core.at_exit,
  now = core.now,
  proc = core.proc,
  stats = core.stats,
  json = core.json,
  stop = core.stop,
  sink = core.sink,
  _core = core,
}

---Describe a script: its name and what it subscribes to.
---@param script moonwatch.Script
---@return moonwatch.Script
function mw.script(script)
  if type(script) ~= "table" then
    error("mw.script takes a table: mw.script { name = ..., on = { ... } }", 2)
  end
  if type(script.name) ~= "string" or script.name == "" then
    error("mw.script: `name` must be a string", 2)
  end
  if script.on ~= nil and type(script.on) ~= "table" then
    error("mw.script: `on` must be a table of event = function", 2)
  end
  if script.reload ~= nil and type(script.reload) ~= "function" then
    error("mw.script: `reload` must be a function of the state of the version before", 2)
  end
  if script.needs ~= nil then
    if type(script.needs) ~= "table" and script.needs ~= "all" then
      error('mw.script: `needs` must be "all" or a list of fields', 2)
    end
    core._needs(script.needs)
  end
  core._subscribe(script.name, script.on or {}, script.threads == true, script)
  return script
end

---A set of values, to ask `set[value]`.
---@param list any[]
---@return table<any, true>
function mw.set(list)
  local set = {}
  for _, value in ipairs(list) do
    set[value] = true
  end
  return set
end

local function matcher(op)
  return function(value, ...)
    local values = type(value) == "table" and value or { value, ... }
    local result = { op = op }
    for i, one in ipairs(values) do
      result[i] = one
    end
    return result
  end
end

---For mw.where: the text begins with, ends with, or contains one of these.
mw.prefix = matcher "prefix"
mw.suffix = matcher "suffix"
mw.contains = matcher "contains"

---For mw.where: none of these, or no value at all. Takes values, or what mw.prefix and the like return.
function mw.none(value, ...)
  local result = { negated = true }
  if type(value) == "table" then
    for key, one in pairs(value) do
      result[key] = one
    end
  else
    for i, one in ipairs { value, ... } do
      result[i] = one
    end
  end
  return result
end

---All living processes.
---@return fun(): moonwatch.Process?
function mw.processes()
  local pids, at = core.pids(), 0
  return function()
    while at < #pids do
      at = at + 1
      local process = core.proc(pids[at])
      if process then
        return process
      end
    end
  end
end

local units = { ms = 0.001, s = 1, m = 60, h = 3600, d = 86400 }

---Seconds in a span of time: "90s", "5m", "250ms", or a number of seconds.
---@param span string|number
---@return number
function mw.seconds(span)
  if type(span) == "number" then
    return span
  end
  local count, unit = tostring(span):match "^(%d+%.?%d*)%s*(%a+)$"
  if not count or not units[unit] then
    error("a span of time is a number of seconds or a text such as '90s', '5m', '1h'", 2)
  end
  return tonumber(count) * units[unit]
end

local severities = mw.set { "low", "medium", "high", "critical" }
local KEYS_MAX = 10000

-- [key] = { since, held }: alerts that were let through, and how many equal ones were not.
local function forget_old(seen, now, span)
  for key, entry in pairs(seen.entries) do
    if now - entry.since >= span and entry.held == 0 then
      seen.entries[key] = nil
      seen.count = seen.count - 1
    end
  end
  if seen.count > KEYS_MAX then -- all are young: begin anew rather than grow without bound
    seen.entries, seen.count = {}, 0
  end
end

local alerts_seen = setmetatable({}, { __mode = "k" }) -- by environment of the script

-- Returns how many equal alerts were held back before this one; nil when this one is held back too.
local function let_through(key, span)
  local owner = getfenv(3)
  local seen = alerts_seen[owner]
  if not seen then
    seen = { entries = {}, count = 0 }
    alerts_seen[owner] = seen
  end
  local now = core.now()
  local entry = seen.entries[key]
  if entry and now - entry.since < span then
    entry.held = entry.held + 1
    return nil
  end
  if not entry then
    seen.count = seen.count + 1
    if seen.count > KEYS_MAX then
      forget_old(seen, now, span)
      seen.count = seen.count + 1
    end
  end
  seen.entries[key] = { since = now, held = 0 }
  return entry and entry.held or 0
end

---Tell of something that matters. With `key` and `dedup`, an equal alert within that span is held
---back and counted; the next one says how many were.
---@param alert moonwatch.Alert
---@return boolean told
function mw.alert(alert)
  if type(alert) ~= "table" then
    error("mw.alert takes a table: mw.alert { severity = \"high\", event = ev }", 2)
  end
  local severity = alert.severity or "medium"
  if not severities[severity] then
    error("mw.alert: severity is low, medium, high or critical, not '" .. tostring(severity) .. "'", 2)
  end
  local key = alert.key ~= nil and tostring(alert.key) or nil
  core._verdict(severity, alert.text, alert.event, key)
  local held = 0
  if alert.dedup then
    local span = mw.seconds(alert.dedup)
    held = let_through(key or "", span)
    if not held then
      return false
    end
  end
  core._alert(severity, alert.text, alert.event, alert.tags, key, held, alert.sink)
  return true
end

-- What the values of a field may be in ancestor{...}: one value, or a list of them.
local function fits(process, wanted)
  for field, want in pairs(wanted) do
    local value = process[field]
    if type(want) ~= "table" then
      if value ~= want then
        return false
      end
    else
      local found = false
      for _, one in ipairs(want) do
        found = found or value == one
      end
      if not found then
        return false
      end
    end
  end
  return true
end

---The nearest ancestor that fits, as it was when it forked.
---@param what table|fun(process: moonwatch.Process): boolean
---@return moonwatch.Process?
function methods:ancestor(what)
  for process in self:ancestors() do
    if type(what) == "function" then
      if what(process) then
        return process
      end
    elseif fits(process, what) then
      return process
    end
  end
end

---The parent, its parent, and so on.
---@return fun(): moonwatch.Process?
function methods:ancestors()
  local process = self
  return function()
    process = process and process.parent
    return process
  end
end

local parent_names = {
  ParentImage = "Image",
  ParentCommandLine = "CommandLine",
  ParentUser = "User",
  ["proc.pname"] = "proc.name",
  ["proc.pexepath"] = "proc.exepath",
  ["proc.pcmdline"] = "proc.cmdline",
}

---The value under any ECS, Sysmon/Sigma, OCSF, Falco or own name.
---@param name string
---@return any
function methods:get(name)
  local own = methods._aliases[name]
  if own then
    local outer, inner = own:match "^(was)%.(.+)$"
    if outer then
      return self.was and self.was[inner]
    end
    return self[own]
  end
  local of_parent = parent_names[name]
    or (name:match "^process%.parent%.(.+)$" and "process." .. name:match "^process%.parent%.(.+)$")
    or (name:match "^process%.parent_process%.(.+)$" and "process." .. name:match "^process%.parent_process%.(.+)$")
  if of_parent then
    return self.parent and self.parent:get(of_parent)
  end
  error("no schema that is known has the name '" .. tostring(name) .. "'", 2)
end

return mw
