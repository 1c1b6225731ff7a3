-- The library that scripts see as `require "moonwatch"`: what C gives, and what is easier in Lua.
local next = next
local core = debug.getregistry().moonwatch
local methods = core._methods

local mw = {
  emit = core.emit,
  log = core.log,
  every = core.every,
  after = core.after,
  cancel = core.cancel,
  at_exit = core.at_exit,
  now = core.now,
  proc = core.proc,
  census = core.census,
  stats = core.stats,
  json = core.json,
  match = core.match,
  option = core.option,
  stop = core.stop,
  kill = core.kill,
  cont = core.cont,
  persist = core.persist,
  sink = core.sink,
  command = require "moonwatch.command",
  _core = core,
}

local function meant(...)
  return require "moonwatch.meant"(...)
end

local function unknown_key(given, known)
  for key in next, given do
    if not known[key] then
      return key
    end
  end
end

-- Of mw.script; the last three are for people.
local script_keys = { name = true, tags = true, on = true, needs = true, threads = true, state = true, reload = true,
  description = true, author = true, references = true }

---What `on` may have: the kinds of events, and any.
mw._kinds = {}
local kinds = "fork exec exit uid gid sid ptrace comm coredump snapshot lost reload storm any"
for kind in kinds:gmatch "%a+" do
  mw._kinds[kind] = true
end

local function check_kinds(on)
  for kind in next, on do
    if not mw._kinds[kind] then
      local near = meant(kind, "", mw._kinds)
      error(("on.%s: no event is named so%s"):format(tostring(kind), near ~= "" and near or "; there are " .. kinds), 3)
    end
  end
end

---Describe a script: its name and what it subscribes to.
---@param script moonwatch.Script
---@return moonwatch.Script
function mw.script(script)
  if type(script) ~= "table" then
    error("mw.script takes a table: mw.script { name = ..., on = { ... } }", 2)
  end
  if unknown_key(script, script_keys) ~= nil then
    require "moonwatch.options"("mw.script", script, script_keys)
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
  check_kinds(script.on or {})
  local ok, problem = pcall(core._subscribe, script.name, script.on or {}, script.threads == true, script)
  if not ok then
    error(problem, 2)
  end
  return script
end

---A test in C, made before a table is: all fields must have one of the values.
function mw.where(tests)
  for name in next, type(tests) == "table" and tests or {} do
    if type(name) == "string" and not core._fields[name] then
      local near = meant(name, "", core._fields)
      near = near ~= "" and near or "; `moonwatch fields` lists them"
      error(("mw.where: no field is named '%s'%s"):format(name, near), 2)
    end
  end
  return core.where(tests)
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

local alert_keys = mw.set { "severity", "text", "event", "key", "dedup", "tags", "sink", "rule", "dump" }
local rule_keys = mw.set { "id", "title", "author", "details" }
local severities = mw.set { "low", "medium", "high", "critical" }

-- Made when first asked for: what no script uses costs no memory.
local function lazily(module, name)
  local f
  return function(...)
    f = f or require("moonwatch." .. module)[name]
    return f(...)
  end
end

mw.window = lazily("window", "new")
mw.sequence = lazily("sequence", "new")
mw.dedup = lazily("gate", "dedup")
mw.throttle = lazily("gate", "throttle")
mw.list = lazily("list", "new")
mw.baseline = lazily("baseline", "new")
mw.sigma = lazily("sigma", "new")
mw.label = lazily("labels", "label")
mw.labels = lazily("labels", "labels")
mw.labelled = lazily("labels", "labelled")

methods.watch = lazily("watch", "watch")

local gates = {} -- of alerts, by script: they outlive its reload
local new_gate = lazily("gate", "make")

local function gate_of_owner(span)
  local owner = core._owner()
  if not gates[owner] then
    gates[owner] = new_gate { span = span, limit = 1, max = 10000 }
  end
  return gates[owner]
end

-- Returns how many equal alerts were held back before this one; nil when this one is held back too.
local function let_through(key, span)
  local gate = gate_of_owner(span)
  local lost = gate.dropped_held
  local go, held = gate:pass(key, span)
  if gate.dropped_held > lost and core.now() - (gate.told or 0) >= 60 then
    gate.told = core.now()
    core.log(("%d alerts in all were held back and are forgotten: more than 10,000 keys"):format(gate.dropped_held))
  end
  return go and held or nil
end

---Alerts of this script that were held back and not told, because no equal one came after the span:
---key and how many. What was handed out is told. `all`: also those whose span lasts.
---@return fun(): string?, integer?
function mw.held(all)
  return gate_of_owner(60):each_held(all)
end

---Tell of something that matters. With `key` and `dedup`, an equal alert within that span is held
---back and counted; the next one says how many were.
---@param alert moonwatch.Alert
---@return boolean told
function mw.alert(alert)
  if type(alert) ~= "table" then
    error("mw.alert takes a table: mw.alert { severity = \"high\", event = ev }", 2)
  end
  if unknown_key(alert, alert_keys) ~= nil then
    require "moonwatch.options"("mw.alert", alert, alert_keys)
  end
  if alert.rule ~= nil and (type(alert.rule) ~= "table" or unknown_key(alert.rule, rule_keys) ~= nil) then
    error("mw.alert: `rule` is a table of id, title, author, details", 2)
  end
  local severity = alert.severity or "medium"
  if not severities[severity] then
    error("mw.alert: severity is low, medium, high or critical, not '" .. tostring(severity) .. "'", 2)
  end
  local key = alert.key ~= nil and tostring(alert.key) or nil
  local dump = alert.dump and mw.seconds(alert.dump) or 0
  if dump < 0 or dump > 3600 then
    error("mw.alert: `dump` is a span of an hour at most, such as '30s'", 2)
  end
  core._verdict(severity, alert.text, alert.event, key)
  local held = 0
  if alert.dedup then
    local span = mw.seconds(alert.dedup)
    held = let_through(key or "", span)
    if not held then
      return false
    end
  end
  core._alert(severity, alert.text, alert.event, alert.tags, key, held, alert.sink, alert.rule, dump)
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
  local own = core._aliases[name]
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
