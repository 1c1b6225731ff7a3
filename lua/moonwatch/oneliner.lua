-- Turns `-e` text into a script: [events:] condition [=> action].
--
--   exec: comm == "curl"                 tell of every exec of curl
--   exec, exit: uid == 0 => print(cmdline)
--   => print(type, pid, comm)            every event
--
-- In both parts the fields of the event are plain names. A condition that fails because a field has
-- no value is undecided: it selects nothing and is counted. A name that is no field, and that nothing
-- gives a value, would always be nil: it is refused.
local mw = require "moonwatch"
local meant = require "moonwatch.meant"
local syntax = require "moonwatch.syntax"
local core = mw._core

local kinds = mw._kinds

-- Who asks for these is told, when it runs, whose they are.
local withheld = mw.set { "io", "os", "debug", "package", "ffi", "jit", "dofile", "loadfile", "collectgarbage" }

-- Walk Lua source; call on_name(name) for each free-standing name, on_arrow(position) at a `=>`.
local function walk(source, on_name, on_arrow)
  local at = 1
  while at <= #source do
    local long = source:match("^%[(=*)%[", at)
    local quote = source:match("^[\"']", at)
    local name = source:match("^[%a_][%w_]*", at)
    local number = source:match("^%d[%w%.]*", at)
    if long then
      local _, stop = source:find("]" .. long .. "]", at, true)
      at = (stop or #source) + 1
    elseif quote then
      at = at + 1
      while at <= #source and source:sub(at, at) ~= quote do
        at = at + (source:sub(at, at) == "\\" and 2 or 1)
      end
      at = at + 1
    elseif name then
      local before = source:sub(1, at - 1):match "(%.*:?)%s*$"
      if before ~= "." and before ~= ":" then
        on_name(name)
      end
      at = at + #name
    elseif number then
      at = at + #number
    elseif source:sub(at, at + 1) == "=>" then
      if on_arrow(at) then
        return
      end
      at = at + 2
    else
      at = at + 1
    end
  end
end

local function nothing() end

-- "exec,exit: rest" -> { "exec", "exit" }, "rest"
local function split_events(text)
  local head, rest = text:match "^%s*([%a_][%w_%s,|]*):(.*)$"
  if not head or rest:sub(1, 1) == ":" then
    return { "any" }, text
  end
  local events = {}
  for word in head:gmatch "[%w_]+" do
    if not kinds[word] then
      -- `comm:find("x")` is an expression that begins with a field
      if #events == 0 and core._fields[word] then
        return { "any" }, text
      end
      local near = meant(word, "", kinds)
      error(("-e: '%s' is no event%s"):format(word, near ~= "" and near or "; there are fork exec exit uid gid sid "
        .. "ptrace comm coredump snapshot lost reload storm any"), 0)
    end
    events[#events + 1] = word
  end
  -- `comm:find("curl")`: the event's name is a field too, and a method call follows
  if #events == 1 and core._fields[events[1]] and rest:match "^[%a_][%w_]*%s*[%(\"'{%[]" then
    return { "any" }, text
  end
  return events, rest
end

-- The event that the text begins with as if a colon came behind it: one that is no field, or one that a
-- word follows which no operator is.
local function names_an_event(text)
  local kind, behind = text:match "^%s*([%a_][%w_]*)%s*,?%s*([%w_]*)"
  if kind and kinds[kind] and (not core._fields[kind] or (behind ~= "" and behind ~= "and" and behind ~= "or")) then
    return kind
  end
end

local function split_action(text)
  local arrow
  walk(text, nothing, function(position)
    arrow = position
    return true
  end)
  if not arrow then
    return text, nil
  end
  return text:sub(1, arrow - 1), text:sub(arrow + 2)
end

-- local pid, comm = ev.pid, ev.comm: only what the text names
local function prologue(text)
  local names, values, used = {}, {}, {}
  walk(text, function(name)
    if (core._fields[name] or name == "parent" or name == "was") and not used[name] then
      used[name] = true
      names[#names + 1] = name
      values[#values + 1] = "ev." .. name
    end
  end, nothing)
  if #names == 0 then
    return "", names
  end
  return ("local %s = %s "):format(table.concat(names, ","), table.concat(values, ",")), names
end

-- The names in the tree that are read, with a place where each is, and those that something gives a value.
local function names_in(tree, read, given)
  for _, list in ipairs { tree.names or {}, tree.params or {}, tree.targets or {} } do
    for _, one in ipairs(list) do
      given[one.name or false] = true
    end
  end
  for key, part in pairs(tree) do
    if type(part) == "table" and key ~= "names" and key ~= "params" then
      names_in(part, read, given)
    end
  end
  if tree.tag == "name" then
    read[#read + 1] = tree.name
  end
end

-- `texts` are Lua, the compiler took them.
local function refuse_unknown(texts, env)
  local read, given = {}, { ev = true, parent = true, was = true }
  for _, text in ipairs(texts) do
    names_in(syntax.parse(text), read, given)
  end
  for _, name in ipairs(read) do
    if not given[name] and not core._fields[name] and env[name] == nil and not withheld[name] then
      error(("-e: no event has '%s'%s"):format(name, meant(name, "", core._fields, given, env)), 0)
    end
  end
end

-- What the compiler has against it, and what may be meant.
local function refuse(text, what, message)
  local _, own = load(text, "=-e", "t") -- without what we put around it
  message = (own or message):gsub("^%-e:%d+: ", "")
  if message:find("near '<eof>'", 1, true) then
    message = "it ends too early: " .. message
  elseif what == "condition" and message:find("near '='", 1, true) then
    message = message .. "; == compares"
  end
  error(("-e: the %s is not Lua: %s"):format(what, message), 0)
end

-- `before`: the prologue; `text`: of the author's, with a return maybe.
local function compile(before, text, what, env)
  local chunk, message = load("return function(ev) " .. before .. text .. "\nend", "=-e", "t", env)
  if not chunk then
    refuse(text, what, message)
  end
  return chunk()
end


local function lacks(ev, names)
  for _, name in ipairs(names) do
    if ev[name] == nil then
      return true
    end
  end
  return false
end

---@param name string  for messages and the summary
---@param text string  the argument of -e
---@param env table    the script's environment
return function(name, text, env)
  local events, rest = split_events(text)
  local condition, action = split_action(rest)
  local kind = rest == text and names_an_event(condition)
  if kind then
    error(("-e: a ':' is missing behind the event: '%s: CONDITION => ACTION'"):format(kind), 0)
  end
  env.mw = env.require "moonwatch" -- its own

  local selects
  local texts = {}
  if condition:match "%S" then
    texts[1] = "return " .. condition
    local locals, names = prologue(condition)
    local test = compile(locals, texts[1], "condition", env)
    selects = function(ev)
      local ok, result = pcall(test, ev)
      if ok then
        return result
      end
      if not lacks(ev, names) then
        error(result, 0)
      end
      core._undecided()
      return false
    end
  end

  local act = mw.emit
  if not action then
    core._needs "all"
  else
    act = compile((prologue(action)), action, "action", env)
    texts[#texts + 1] = action
  end
  refuse_unknown(texts, env)

  local on = {}
  for _, event in ipairs(events) do
    on[event] = function(ev)
      if not selects or selects(ev) then
        act(ev)
      end
    end
  end
  mw.script { name = name, on = on }
end
