-- Lines of somebody's, one by one, on live events: the worker's half of `moonwatch repl`.
--
-- repl(text, env) -> answer. An answer begins with what it is: "=" what the line gave, with what was printed before;
-- "." the line is not whole yet. Errors are thrown. Texts that begin with a colon are not Lua but of the other half:
--
--   :begin   look at events from now on: `ev` is the last one, on.KIND = function(ev) ... end is called for each
--   :end     and no more      :poll   what was printed meanwhile      :events   the last ones, a line each
--   :names   what can be completed: words, and names behind `mw.` and `ev.`
local core = debug.getregistry().moonwatch

local LINES = 500      -- printed and not asked for yet
local EVENTS = 20      -- kept for :events
local ENTRIES = 60     -- of a table that are shown
local TEXT = 200       -- bytes of a string inside of a table

local sessions = setmetatable({}, { __mode = "k" }) -- by environment

-- --- showing -----------------------------------------------------------------------------------------

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }

local function quoted(text, most)
  local cut = #text > most
  text = (cut and text:sub(1, most) or text):gsub('[%c"\\\127]', function(c)
    return escapes[c] or ("\\%d"):format(c:byte())
  end)
  return '"' .. text .. (cut and '..."' or '"')
end

local function is_process(value)
  return type(value) == "table" and rawget(value, "pid") ~= nil and type(value.why) == "function"
end

-- exec 1234 sh: sh -c id (nginx)
local function process_line(p)
  local what = rawget(p, "type") or "process"
  local parent = p.parent
  return ("%s %s %s: %s%s"):format(what, tostring(p.pid), tostring(p.comm or "?"), tostring(p.cmdline or p.exe or "?"),
    parent and (" (below %s)"):format(tostring(parent.comm or "?")) or ""):gsub("[%c\127]", "?")
end

local show

-- Keys in the order of people: numbers, then names.
local function keys_of(t)
  local keys = {}
  for key in next, t do
    keys[#keys + 1] = key
  end
  table.sort(keys, function(a, b)
    local x, y = type(a), type(b)
    if x ~= y then
      return x < y
    end
    if x == "number" or x == "string" then
      return a < b
    end
    return false
  end)
  return keys
end

local function show_key(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" then
    return key
  end
  return "[" .. (type(key) == "string" and quoted(key, TEXT) or tostring(key)) .. "]"
end

local function show_table(t)
  local parts = {}
  local keys, n = keys_of(t), #t
  for i, key in ipairs(keys) do
    if i > ENTRIES then
      parts[#parts + 1] = ("... %d more"):format(#keys - ENTRIES)
      break
    end
    local value = show(rawget(t, key), true)
    local listed = type(key) == "number" and key >= 1 and key <= n
    parts[#parts + 1] = listed and value or show_key(key) .. " = " .. value
  end
  if #parts == 0 then
    return "{}"
  end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  return #line <= 100 and line or "{\n  " .. table.concat(parts, ",\n  ") .. "\n}"
end

---A value as people read it: tables one level deep, processes and events as a line.
---@param value any
---@param inside boolean?
---@return string
function show(value, inside)
  if type(value) == "string" then
    return quoted(value, inside and TEXT or 100000)
  elseif type(value) ~= "table" then
    return tostring(value)
  elseif is_process(value) then
    return "<" .. process_line(value) .. ">"
  end
  return inside and (next(value) == nil and "{}" or "{...}") or show_table(value)
end

-- All fields of an event, one per line.
local function dump(value)
  if type(value) ~= "table" then
    return show(value)
  end
  local lines = {}
  for _, key in ipairs(keys_of(value)) do
    lines[#lines + 1] = ("  %-12s %s"):format(tostring(key), show(rawget(value, key), true))
  end
  return (is_process(value) and process_line(value) .. "\n" or "") .. table.concat(lines, "\n")
end

-- --- a session ---------------------------------------------------------------------------------------

local Session = {}
Session.__index = Session

function Session:print(text)
  if #self.lines < LINES then
    self.lines[#self.lines + 1] = text
  else
    self.held = self.held + 1
  end
end

-- What was printed since, and how much more.
function Session:take_lines()
  if self.held > 0 then
    self.lines[#self.lines + 1] = ("(%d more lines)"):format(self.held)
  end
  local text = table.concat(self.lines, "\n")
  self.lines, self.held = {}, 0
  return text
end

function Session:keep(ev)
  self.events[self.at] = ev
  self.at = self.at % EVENTS + 1
end

-- A handler that fails is taken out: it would fail again.
function Session:event(ev)
  if not self.active then
    return
  end
  rawset(self.env, "ev", ev)
  self:keep(ev)
  for _, kind in ipairs { ev.type, "any" } do
    local handler = self.on[kind]
    if handler then
      local ok, message = pcall(handler, ev)
      if not ok then
        self.on[kind] = nil
        self:print(("on.%s failed and is taken out: %s"):format(kind, tostring(message)))
      end
    end
  end
end

local kinds = {}
for kind in ("fork exec exit uid gid sid ptrace comm coredump snapshot lost reload any"):gmatch "%a+" do
  kinds[kind] = true
end

-- on.exec = f
local function new_on(session)
  return setmetatable({}, {
    __index = function(_, kind)
      return session.on[kind]
    end,
    __newindex = function(_, kind, handler)
      if not kinds[kind] then
        error(("on.%s: there is no such event"):format(tostring(kind)), 2)
      elseif handler ~= nil and type(handler) ~= "function" then
        error(("on.%s is a function, or nil to end it"):format(kind), 2)
      end
      session.on[kind] = handler
    end,
  })
end

local function joined(...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = tostring((select(i, ...)))
  end
  return table.concat(parts, "\t")
end

-- What writes to the watch's output elsewhere is shown here.
local function redirect(session, env)
  local mw = env.require and env.require "moonwatch" or env.mw
  env.mw = mw
  env.print = function(...)
    session:print(joined(...))
  end
  env.show = show
  function env.dump(value)
    session:print(dump(value))
  end
  if rawget(_G, "mw") ~= mw and mw ~= package.loaded.moonwatch then -- a copy of this session's own
    mw.emit = function(value)
      session:print(type(value) == "string" and value or show(value))
    end
    mw.log = env.print
    mw.alert = function(alert)
      session:print(("ALERT %s %s"):format(alert.severity or "medium", alert.text or (alert.event and show(alert.event))
        or ""))
      return true
    end
  end
end

local function session_of(env)
  local session = sessions[env]
  if not session then
    session = setmetatable({ env = env, lines = {}, held = 0, events = {}, at = 1, on = {} }, Session)
    sessions[env] = session
    env.on = new_on(session)
    redirect(session, env)
  end
  return session
end

local commands = {}

function commands.begin(session)
  session.active = true
  if not session.subscribed then
    session.subscribed = true
    core._needs "all"
    core._subscribe("repl", {
      any = function(ev)
        session:event(ev)
      end,
    }, false, { name = "repl" })
  end
  return ""
end

commands["end"] = function(session)
  session.active, session.on, session.events, session.at = false, {}, {}, 1
  session.lines, session.held = {}, 0
  rawset(session.env, "ev", nil)
  return ""
end

function commands.poll(session)
  return session:take_lines()
end

function commands.events(session)
  local lines = {}
  for i = 0, EVENTS - 1 do
    local ev = session.events[(session.at - 1 + i) % EVENTS + 1]
    lines[#lines + 1] = ev and process_line(ev)
  end
  return table.concat(lines, "\n")
end

-- "mw.alert", "ev.pid", "ev:sockets", "print"
function commands.names(session)
  local names = { "ev.parent", "ev.was" }
  for name, value in pairs(session.env.mw) do
    names[#names + 1] = "mw." .. name
    if type(value) == "table" then
      for inner in pairs(value) do
        names[#names + 1] = "mw." .. name .. "." .. tostring(inner)
      end
    end
  end
  for name in pairs(core._fields) do
    names[#names + 1] = "ev." .. name
  end
  for name in pairs(core._methods) do
    names[#names + 1] = type(name) == "string" and name:sub(1, 1) ~= "_" and "ev:" .. name or nil
  end
  for name in pairs(kinds) do
    names[#names + 1] = "on." .. name
  end
  for name in pairs(session.env) do
    names[#names + 1] = type(name) == "string" and name or nil
  end
  table.sort(names)
  return table.concat(names, "\n")
end

-- --- lines -------------------------------------------------------------------------------------------

local function compile(text, env)
  local chunk, unfinished = load("return " .. text, "=repl", "t", env)
  if chunk then
    return chunk
  end
  local message
  chunk, message = load(text, "=repl", "t", env)
  if not chunk and unfinished:find "near '<eof>'$" then -- "1 +" is no statement, but may become an expression
    message = unfinished
  end
  return chunk, message
end

local function show_results(session, n, ...)
  local parts = {}
  for i = 1, n do
    parts[i] = show((select(i, ...)))
  end
  if n > 0 then
    session:print(table.concat(parts, "\t"))
  end
  return "=" .. session:take_lines()
end

local function count(...)
  return select("#", ...), ...
end

---@param text string
---@param env table
---@return string
return function(text, env)
  local session = session_of(env)
  local command = text:match "^:(%a+)$"
  if command then
    local f = commands[command] or error("there is no command :" .. command, 0)
    return "=" .. f(session)
  end
  local chunk, message = compile(text, env)
  if not chunk then
    if message:find "near '<eof>'$" then
      return "."
    end
    error(message, 0)
  end
  return show_results(session, count(chunk()))
end
