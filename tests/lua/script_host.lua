-- A stand-in for the host: what C gives the library, made of tables, so that scripts run under busted.
--
--   local host = require("script_host").new()            time stands at 1,000,000
--   host:load("scripts/x.lua", { limit = 3 })         as it is in a sandbox; the second are its options
--   local shell = host:process { comm = "bash" }      alive: mw.proc, mw.processes
--   local ev = host:exec(shell, { "nc", "-e", "sh" }, { euid = 0 })
--   host:feed("exit", { ... })                        any event, also without a field
--   host:advance(5)                                   time passes: timers are called
--   host.alerts, host.lines, host.logged, host.emitted
--
-- A process answers questions by its field `answers`: { sockets = {...}, environ = function() ... end }.
local script_host = {}

package.path = "lua/?.lua;lua/?/init.lua;tests/lua/?.lua;" .. package.path

local Host = {}
Host.__index = Host

-- What is left of the standard library in the sandbox.
local allowed = { "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type",
  "unpack", "rawequal", "rawget", "setmetatable", "getmetatable", "string", "table", "math", "bit" }

local questions = { "stat", "status", "memory", "io", "fds", "sockets", "threads", "ns", "maps", "libraries",
  "environ", "mounts", "limits", "cgroups", "hash" }

local function fresh_library()
  for name in pairs(package.loaded) do
    if name:find "^moonwatch" then
      package.loaded[name] = nil
    end
  end
  return require "moonwatch"
end

-- --- mw.where, as C does it -------------------------------------------------------------------------

local tests = {
  prefix = function(value, want) return value:sub(1, #want) == want end,
  suffix = function(value, want) return want == "" or value:sub(-#want) == want end,
  contains = function(value, want) return value:find(want, 1, true) ~= nil end,
}

local function one_of(value, wanted, test)
  for _, want in ipairs(wanted) do
    if value == want or (test and value ~= nil and test(value, want)) then
      return true
    end
  end
  return false
end

local function field_fits(value, wanted)
  if type(wanted) ~= "table" then
    return value == wanted
  end
  return one_of(value, wanted, tests[wanted.op]) ~= (wanted.negated == true)
end

local function where_fits(where, ev)
  for field, wanted in pairs(where or {}) do
    if not field_fits(ev[field], wanted) then
      return false
    end
  end
  return true
end

-- --- the core ---------------------------------------------------------------------------------------

local function core_of(host)
  return {
    _methods = host.methods,
    _fields = setmetatable({}, { __index = function() return true end }),
    _subscribe = function(name, on, _, script) host.name, host.on, host.tags = name, on, script.tags end,
    _needs = function(fields) host.needs = fields end,
    _owner = function() return 2 end,
    _need_all = function() host.needs = "all" end,
    _verdict = function() end,
    _undecided = function() end,
    _alert = function(severity, text, event, tags, key, held)
      host.alerts[#host.alerts + 1] =
        { severity = severity, text = text, event = event, tags = tags or host.tags, key = key, held = held }
    end,
    where = function(where)
      return function(handler) return { where = where, handler = handler } end
    end,
    emit = function(value) host.emitted[#host.emitted + 1] = value end,
    log = function(...) host.logged[#host.logged + 1] = table.concat({ ... }, "\t") end,
    now = function() return host.time end,
    _clock = function() return host.time end,
    after = function(seconds, f) return host:timer(seconds, f) end,
    every = function(seconds, f) return host:timer(seconds, f, seconds) end,
    cancel = function(timer) host.timers[timer] = nil end,
    at_exit = function(f) table.insert(host.endings, f) end,
    proc = function(pid)
      assert(type(pid) == "number", "mw.proc takes a pid")
      return host.alive[pid]
    end,
    pids = function() return host:pids() end,
    census = function(pids) return host:census(pids) end,
    stats = function() return host.figures end,
    json = tostring,
    _kin = function(process)
      local alive = host.alive[process.pid]
      local same = alive and alive.id == process.id
      return { same and alive or nil }, same and 1 or 0
    end,
    option = function(name, default)
      host.asked[name] = true
      if host.options[name] ~= nil then
        return host.options[name]
      end
      return default
    end,
    stop = function(process)
      if process then
        return nil, "not allowed: start with --allow-kill"
      end
      host.stopped = true
    end,
  }
end

-- What has been seen on this host, here in memory only.
local function new_baseline(host, given)
  local seen, quiet_until = {}, host.time + host.mw.seconds(given.learn or 0)
  return {
    new = function(_, key)
      local fresh = not seen[key]
      seen[key] = true
      return fresh and host.time >= quiet_until
    end,
  }
end

---@return table host
function script_host.new()
  local host = setmetatable({ time = 1000000, alerts = {}, lines = {}, logged = {}, emitted = {}, timers = {},
    endings = {}, alive = {}, census_of = {}, asked = {}, options = {}, on = {}, figures = { processes = 100 },
    next_pid = 1000, methods = { _aliases = {} } }, Host)
  for _, question in ipairs(questions) do
    host.methods[question] = function(process)
      assert(type(process.pid) == "number", "only a process with a pid can be asked: " .. question)
      local answer = (rawget(process, "answers") or {})[question]
      if type(answer) == "function" then
        return answer(process)
      end
      return answer, answer == nil and "gone" or nil
    end
  end
  host.methods.why = function() return "absent" end
  host.meta = { __index = function(process, key)
    if key == "cmdline" then
      local args = rawget(process, "args")
      return args and table.concat(args, " ")
    end
    return host.methods[key]
  end }
  debug.getregistry().moonwatch = core_of(host)
  host.mw = fresh_library()
  host.mw.baseline = function(given) return new_baseline(host, given) end
  return host
end

-- --- scripts ----------------------------------------------------------------------------------------

local function environment(host)
  local env = { os = { time = os.time, date = os.date, clock = os.clock } }
  for _, name in ipairs(allowed) do
    env[name] = _G[name]
  end
  env.print = function(...)
    local words = {}
    for i = 1, select("#", ...) do
      words[i] = tostring((select(i, ...)))
    end
    host.lines[#host.lines + 1] = table.concat(words, "\t")
  end
  env.require = function(name)
    assert(name:find "^moonwatch", "a script requires only the library: " .. name)
    return require(name)
  end
  return env
end

---Load a script as the sandbox does. What it asks of the environment that is not allowed is an error.
function Host:load(path, options)
  self.options = options or {}
  local chunk = assert(loadfile(path))
  local env = setmetatable(environment(self), {
    __index = function(_, name) error(path .. " asks for the global " .. tostring(name), 2) end,
    __newindex = function(_, name) error(path .. " sets the global " .. tostring(name), 2) end,
  })
  self.script = setfenv(chunk, env)(path)
  assert(type(self.script) == "table" and self.script.name, path .. " returns no script")
  for name in pairs(self.options) do
    assert(self.asked[name], path .. " never asked for the option " .. name)
  end
  return self
end

local function handlers_of(on, kind)
  local value = on[kind]
  if type(value) == "table" and value.handler == nil then
    return value
  end
  return { value }
end

-- --- processes and events ---------------------------------------------------------------------------

---A living process; its id, pid and a parent are made up when not given.
function Host:process(fields)
  if not fields.pid then
    self.next_pid = self.next_pid + 1
    fields.pid = self.next_pid
  end
  fields.id = fields.id or ("boot-%d-%d"):format(fields.pid, self.next_pid)
  if fields.args and not fields.comm then
    fields.comm = fields.args[1]:match "[^/]*$":sub(1, 15)
  end
  self.alive[fields.pid] = setmetatable(fields, self.meta)
  return fields
end

---An event, with just these fields.
function Host:feed(kind, fields)
  local ev = setmetatable(fields or {}, self.meta)
  ev.type = kind
  ev.time = ev.time or self.time
  for _, on in ipairs { kind, "any" } do
    for _, handler in ipairs(handlers_of(self.on, on)) do
      if type(handler) == "function" then
        handler(ev)
      elseif where_fits(handler.where, ev) then
        handler.handler(ev)
      end
    end
  end
  return ev
end

local function copy(fields)
  local result = {}
  for key, value in pairs(fields or {}) do
    result[key] = value
  end
  return result
end

---A new process under `parent` that becomes the program `args`; `fields` has what differs.
function Host:exec(parent, args, fields)
  local ev = copy(fields)
  ev.args, ev.parent = args, parent
  for _, name in ipairs { "uid", "euid", "sid", "loginuid", "container", "tty" } do
    if ev[name] == nil and parent then
      ev[name] = rawget(parent, name)
    end
  end
  ev.uid, ev.euid, ev.sid = ev.uid or 1000, ev.euid or ev.uid or 1000, ev.sid or 500
  ev.exe = ev.exe or (args[1]:sub(1, 1) == "/" and args[1] or "/usr/bin/" .. args[1])
  ev.execs = ev.execs or 1
  return self:feed("exec", self:process(ev))
end

---It ends: an exit of this process, with these fields besides.
function Host:exit(process, fields)
  local ev = copy(process)
  for key, value in pairs(fields or { code = 0 }) do
    ev[key] = value
  end
  self.alive[process.pid] = nil
  return self:feed("exit", ev)
end

function Host:pids()
  local pids = {}
  for pid in pairs(self.alive) do
    pids[#pids + 1] = pid
  end
  table.sort(pids)
  return pids
end

---What /proc and kill say: of a living process all is well, unless host.census_of[pid] has other flags.
function Host:census(pids)
  if self.census_fails then
    return nil, self.census_fails
  end
  local function flags_of(pid)
    return self.census_of[pid] or (self.alive[pid] and { listed = true, open = true, lives = true, thread = false })
  end
  local answer, listed = {}, {}
  for _, pid in ipairs(pids) do
    answer[pid] = flags_of(pid)
  end
  for pid in pairs(self.alive) do
    if flags_of(pid).listed then
      listed[#listed + 1] = pid
    end
  end
  table.sort(listed)
  return answer, listed
end

-- --- time -------------------------------------------------------------------------------------------

function Host:timer(seconds, f, every)
  self.last_timer = (self.last_timer or 0) + 1
  self.timers[self.last_timer] = { at = self.time + seconds, f = f, every = every, id = self.last_timer }
  return self.last_timer
end

local function first_due(timers, until_)
  local first
  for _, timer in pairs(timers) do
    if timer.at <= until_ and (not first or timer.at < first.at or (timer.at == first.at and timer.id < first.id)) then
      first = timer
    end
  end
  return first
end

---Time passes; timers are called when they are due, in order.
function Host:advance(seconds)
  local goal = self.time + seconds
  local timer = first_due(self.timers, goal)
  while timer do
    self.time = math.max(self.time, timer.at)
    if timer.every then
      timer.at = timer.at + timer.every
    else
      self.timers[timer.id] = nil
    end
    timer.f()
    timer = first_due(self.timers, goal)
  end
  self.time = goal
end

---The watch ends.
function Host:finish()
  for _, f in ipairs(self.endings) do
    f()
  end
end

return script_host
