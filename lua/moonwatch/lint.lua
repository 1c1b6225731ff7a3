-- What is wrong with a script, as far as its text tells; nothing of it is run.
--
-- lint(name, text, facts) -> findings: { line, col, level = "error" | "warning" | "hint", code, text }, in the order
-- of lines. `facts` says what there is to be had (src/host/lint.c collects it from the library itself):
--
--   fields   name -> { kinds = { exit = true } or nil (all), state = true (a parent has it too), text = true }
--   aliases  every name that ev:get() takes        topics   name -> { columns = set, rows = a list of such }
--   kinds    list of events                        methods  name -> true
--   mw       name -> true, or the names inside     globals  what a policy sees, the same way
--   trusted  instead of these, all that LuaJIT has
--   set      name -> true: what other scripts of the same run put into events
--
-- The tree is walked four times: first to learn which function is called with what, at last to tell.
local syntax = require "moonwatch.syntax"
local meant = require "moonwatch.meant"

local MANY = 200 -- findings in one file: nobody reads more

local function set_of(words)
  local set = {}
  for word in words:gmatch "%S+" do
    set[word] = true
  end
  return set
end

-- --- what there is besides `mw` -------------------------------------------------------------------------

local FOR_TRUSTED = ": the policy profile lacks it; what needs it is run with `moonwatch run --trusted FILE`"
local LACKS = {}
for name in ([[
  collectgarbage debug dofile ffi gcinfo getfenv io jit loadfile module newproxy package setfenv
  os.execute os.exit os.getenv os.remove os.rename os.setlocale os.tmpname string.dump]]):gmatch "%S+" do
  LACKS[name] = FOR_TRUSTED
end
for name in ("debug ffi io jit package table.new table.clear string.buffer"):gmatch "%S+" do
  LACKS["require " .. name] = FOR_TRUSTED
end

-- All that this state has.
local function everything()
  local all = {}
  for name, value in pairs(_G) do
    all[name] = true
    if type(value) == "table" and value ~= _G then
      all[name] = {}
      for inner in pairs(value) do
        all[name][inner] = true
      end
    end
  end
  return all
end

local function shown(word)
  return #word <= 40 and word or word:sub(1, 40) .. "..."
end

-- --- the walk ----------------------------------------------------------------------------------------

local Walk = {}
Walk.__index = Walk

function Walk:add(node, level, code, text)
  if self.tells and #self.findings < MANY then
    self.findings[#self.findings + 1] = { line = node.line, col = node.col, level = level, code = code, text = text }
  end
end

function Walk:open()
  self.scope = { outer = self.scope, names = {} }
end

function Walk:close()
  for _, var in pairs(self.scope.names) do
    self:leave(var)
  end
  self.scope = self.scope.outer
end

function Walk:leave(var)
  if var.used or var.param or var.name:sub(1, 1) == "_" then
    return
  end
  if var.shape and var.shape.of == "function" then
    self:add(var.node, "warning", "unused", ("function '%s' is never used: should it be in `on`?"):format(var.name))
  else
    self:add(var.node, "warning", "unused", ("local '%s' is never used"):format(var.name))
  end
end

function Walk:declare(node, shape, param)
  local before = self.scope.names[node.name]
  if before then
    self:leave(before)
  end
  local var = { name = node.name, node = node, shape = shape, param = param }
  self.scope.names[node.name] = var
  return var
end

function Walk:find(name)
  local scope = self.scope
  while scope do
    if scope.names[name] then
      return scope.names[name]
    end
    scope = scope.outer
  end
end

-- --- what a value is ---------------------------------------------------------------------------------

-- Shapes: { of = "event", kinds = set or nil (any) }, "process", "was", "members" (of mw or a library: .path, .names),
-- "function" and "table" (.node), "string"; of what ev:stat() and the like give, "row" and "rows" (.topic), and "each"
-- (.row) of a loop over them. These are not followed into functions, nor where the text does not show which it is.
local PROCESS, STRING = { of = "process" }, { of = "string" }

local function kinds_text(kinds)
  local names = {}
  for kind in pairs(kinds) do
    names[#names + 1] = kind
  end
  table.sort(names)
  return table.concat(names, ", ")
end

local function meet(a, b)
  for kind in pairs(a) do
    if b[kind] then
      return true
    end
  end
  return false
end

-- A field that events have, but not these.
function Walk:check_kinds(node, name, field, kinds)
  if field.kinds and kinds and not kinds.any and next(kinds) and not meet(field.kinds, kinds) then
    self:add(node, "warning", "never", ("'%s' is nil here: only %s has it, and this is called for %s"):format(name,
      kinds_text(field.kinds), kinds_text(kinds)))
  end
end

function Walk:event_field(node, key, shape, facts)
  local field = facts.fields[key]
  if key == "parent" then
    return PROCESS
  elseif key == "was" then
    return { of = "was", kinds = shape.kinds }
  elseif field then
    self:check_kinds(node, key, field, shape.kinds)
    return field.text and STRING or nil
  elseif not (facts.methods[key] or facts.topics[key] or facts.set[key] or self.set[key]) then
    self:add(node, "warning", "field", ("events have no field '%s'%s"):format(shown(key),
      meant(key, "", facts.fields, facts.methods, facts.topics, { parent = true, was = true })))
  end
end

function Walk:process_field(node, key, facts)
  local field = facts.fields[key]
  if key == "parent" then
    return PROCESS
  elseif field and field.state then
    return field.text and STRING or nil
  elseif field then
    self:add(node, "warning", "never", ("'%s' is nil here: an event has it, a process has not"):format(key))
  elseif not (facts.methods[key] or facts.topics[key] or facts.set[key] or self.set[key]) then
    self:add(node, "warning", "field", ("processes have no field '%s'%s"):format(shown(key),
      meant(key, "", facts.fields, facts.methods, facts.topics, { parent = true })))
  end
end

function Walk:was_field(node, key, shape, facts)
  local field, names = facts.fields["was." .. key], {}
  if field then
    self:check_kinds(node, "was." .. key, field, shape.kinds)
    return field.text and STRING or nil
  end
  for name in pairs(facts.fields) do
    names[name:match "^was%.(.+)" or ""] = true
  end
  self:add(node, "warning", "field", ("`was` has no field '%s'%s"):format(shown(key), meant(key, "", names)))
end

function Walk:member(node, key, shape)
  local inner = shape.names[key]
  if inner == nil then
    if not self.assigned[shape.path .. "." .. key] then
      self:add(node, "warning", "member", ("there is no %s.%s%s"):format(shape.path, shown(key),
        self.lacks[shape.path .. "." .. key] or meant(key, shape.path .. ".", shape.names)))
    end
    return nil
  end
  return { of = "members", path = shape.path .. "." .. key, names = type(inner) == "table" and inner or nil }
end

local ANSWER = set_of "row rows each"

function Walk:answer_of(name)
  local topic = self.facts.topics[name]
  return topic and not self.set[name] and { of = topic.rows and "rows" or "row", topic = name } or nil
end

local function row_of(shape)
  return { of = "row", topic = shape.topic }
end

function Walk:row_field(node, key, shape)
  local columns = self.facts.topics[shape.topic].columns
  if shape.of == "rows" and columns[key] then
    self:add(node, "warning", "field", ("%s() gives a list: '%s' is a field of each in it"):format(shape.topic, key))
  elseif not columns[key] and not self.assigned["row." .. key] then
    self:add(node, "warning", "field", ("%s() gives no field '%s'%s"):format(shape.topic, shown(key),
      meant(key, "", columns)))
  end
end

function Walk:read(node, key, shape)
  if shape.of == "event" then
    return self:event_field(node, key, shape, self.facts)
  elseif shape.of == "process" then
    return self:process_field(node, key, self.facts)
  elseif shape.of == "was" then
    return self:was_field(node, key, shape, self.facts)
  elseif shape.of == "members" and shape.names then
    return self:member(node, key, shape)
  elseif shape.of == "row" or shape.of == "rows" then
    return self:row_field(node, key, shape)
  end
end

-- --- what calls mean ---------------------------------------------------------------------------------

local function path_of(shape)
  return shape and shape.of == "members" and shape.path or ""
end

local function unwrap(node)
  while node and node.tag == "paren" do
    node = node.inner
  end
  return node
end

-- The table that an expression is, when the text shows it.
function Walk:table_of(node)
  node = unwrap(node)
  if node and node.tag == "name" then
    local var = self:find(node.name)
    return var and var.shape and var.shape.of == "table" and var.shape.node
  end
  return node and node.tag == "table" and node
end

local function each_key(node)
  local items = {}
  for _, item in ipairs(node.items) do
    if item.key and item.key.tag == "string" then
      items[#items + 1] = item
    end
  end
  for _, item in ipairs(node.later or {}) do
    items[#items + 1] = item
  end
  return ipairs(items)
end

function Walk:check_keys(node, known, what)
  for _, item in each_key(node) do
    if not known[item.key.value] then
      self:add(item.key, "error", "key", ("%s takes no '%s'%s"):format(what, shown(item.key.value),
        meant(item.key.value, "", known)))
    end
  end
end

local SCRIPT = set_of "name tags on needs threads state reload description author references"
local ALERT = set_of "severity text event key dedup tags sink dump"
local SEVERITY = set_of "low medium high critical"

function Walk:check_where(node, kinds)
  local tests = self:table_of(node)
  for _, item in each_key(tests or { items = {} }) do
    local name = item.key.value
    local field = self.facts.fields[name]
    if not field then
      self:add(item.key, "error", "field", ("mw.where: no field is named '%s'%s"):format(shown(name),
        meant(name, "", self.facts.fields)))
    else
      self:check_kinds(item.key, name, field, kinds)
    end
  end
end

-- What is in `on` under this event: a function, one behind mw.where, a list of both.
function Walk:subscribe(node, kind, guarded)
  node = unwrap(node)
  if not node then
    return
  end
  local fn = node
  if node.tag == "name" then
    local var = self:find(node.name)
    fn = var and var.shape and var.shape.of == "function" and var.shape.node or node
  end
  if fn.tag == "function" then
    fn.kinds = fn.kinds or {}
    fn.kinds[kind] = true
    fn.handles = true
    fn.unguarded = fn.unguarded or not guarded
    if #fn.body == 0 then
      self:add(node, "warning", "empty", ("subscribes to %s and does nothing with it"):format(kind))
    end
  elseif node.tag == "call" and node.callee.tag == "call" then
    self:subscribe(node.args[1], kind, true)
    if node.callee.where then
      self:check_where(node.callee.args[1], { [kind] = true, any = kind == "any" or nil })
    end
  elseif node.tag == "table" then
    for _, item in ipairs(node.items) do
      self:subscribe(item.value, kind, guarded)
    end
  end
end

function Walk:check_script(node)
  local script = self:table_of(node)
  if not script then
    return
  end
  self.described = true
  self:check_keys(script, SCRIPT, "mw.script")
  for _, item in each_key(script) do
    local key = item.key.value
    local on = key == "on" and self:table_of(item.value)
    for _, handler in each_key(on or { items = {} }) do
      local kind = handler.key.value
      if not self.facts.kinds[kind] then
        self:add(handler.key, "error", "event", ("there is no event '%s'%s"):format(shown(kind),
          meant(kind, "", self.facts.kinds)))
      else
        self:subscribe(handler.value, kind)
      end
    end
    local needs = key == "needs" and self:table_of(item.value)
    for _, need in ipairs(needs and needs.items or {}) do
      self:check_name(need.value, "needs")
    end
  end
end

-- A string that must be the name of a field, in any schema.
function Walk:check_name(node, what)
  node = unwrap(node)
  if node and node.tag == "string" and not self.facts.aliases[node.value] then
    self:add(node, "error", "field", ("%s: no field is named '%s'%s"):format(what, shown(node.value),
      meant(node.value, "", self.facts.aliases)))
  end
end

function Walk:check_alert(node)
  local alert = self:table_of(node)
  if not alert then
    return
  end
  self:check_keys(alert, ALERT, "mw.alert")
  for _, item in each_key(alert) do
    local value = unwrap(item.value)
    if item.key.value == "severity" and value.tag == "string" and not SEVERITY[value.value] then
      self:add(value, "error", "severity", ("mw.alert: severity is low, medium, high or critical, not '%s'"):format(
        shown(value.value)))
    end
  end
end

-- How many places of a pattern can each take any number of bytes; the work grows with the text's length to their power.
local function wildcards(pattern)
  local n, at, anchored = 0, 1, pattern:sub(1, 1) == "^"
  local last
  while at <= #pattern do
    local from = at
    local char = pattern:sub(at, at)
    if char == "%" then
      at = at + 2
    elseif char == "[" then
      at = (pattern:find("]", at + 2, true) or #pattern) + 1
    else
      at = at + 1
    end
    local quantifier = pattern:sub(at, at)
    if quantifier ~= "" and ("*+-"):find(quantifier, 1, true) then
      last = nil
      if char == "." or (char == "%" and pattern:sub(from + 1, from + 1):find "%u") or char == "[" then
        n, last = n + 1, quantifier
      end
      at = at + 1
    elseif char ~= "(" and char ~= ")" then
      last = nil
    end
  end
  if last == "*" or last == "+" then
    n = n - 1 -- at the end it takes all there is, once
  end
  return n + (anchored and 0 or 1)
end

local PATTERNS = set_of "match find gmatch gsub"

function Walk:check_pattern(node, name, plain)
  node = unwrap(node)
  if not PATTERNS[name] or plain or not node or node.tag ~= "string" then
    return
  end
  local power = wildcards(node.value)
  if power >= 3 and #node.value <= 4096 then
    self:add(node, "hint", "pattern", ("takes up to n^%d steps for a text of n bytes, and who starts a process chooses "
      .. "its text: begin with ^, replace .* and .- by what may stand there, as in [^/]*"):format(power))
  end
end

-- A question costs what an event costs many times over.
function Walk:check_question(node, shape)
  local fn = self.handler
  if shape.of ~= "event" or not self.facts.topics[node.name] or not fn or not fn.unguarded or self.guarded > 0 then
    return
  end
  for _, kind in ipairs { "exec", "fork", "exit", "any" } do
    if fn.kinds[kind] then
      self:add(node, "hint", "question", ("asks at each %s, whatever it is: rule out what does not matter first, by "
        .. "mw.where or a test"):format(kind))
      return
    end
  end
end

-- --- expressions -------------------------------------------------------------------------------------

local expression = {}

function Walk:expr(node)
  local f = node and expression[node.tag]
  return f and f(self, node)
end

function Walk:list(nodes)
  local shapes = {}
  for i, node in ipairs(nodes) do
    shapes[i] = self:expr(node)
  end
  return shapes
end

expression.string = function()
  return STRING
end

expression.paren = function(self, node)
  return self:expr(node.inner)
end

expression.unary = function(self, node)
  self:expr(node.inner)
end

expression.binary = function(self, node)
  local left = self:expr(node.left)
  local either = node.op == "and" or node.op == "or"
  if either then
    self.guarded = self.guarded + 1
  end
  local right = self:expr(node.right)
  if either then
    self.guarded = self.guarded - 1
  end
  if node.op == "and" then
    return right
  elseif node.op == "or" and left and ANSWER[left.of] then
    return right and right.of == "table" and #right.node.items == 0 and left or nil
  elseif node.op == "or" then
    return left or right
  end
  return node.op == ".." and STRING or nil
end

expression.name = function(self, node)
  local var = self:find(node.name)
  if var then
    var.used = true
    return var.shape
  end
  local inner = self.globals[node.name]
  if inner == nil and not self.assigned[node.name] then
    self:add(node, "warning", "global", ("'%s' is not defined%s"):format(shown(node.name),
      self.lacks[node.name] or meant(node.name, "", self.globals, self:names())))
  end
  return inner and { of = "members", path = node.name, names = type(inner) == "table" and inner or nil }
end

-- What could have been meant here.
function Walk:names()
  local names, scope = {}, self.scope
  while scope do
    for name in pairs(scope.names) do
      names[name] = true
    end
    scope = scope.outer
  end
  return names
end

expression.index = function(self, node)
  local shape = self:expr(node.object)
  local key = unwrap(node.key)
  if key.tag ~= "string" then
    self:expr(node.key)
    return shape and shape.of == "rows" and row_of(shape) or nil
  end
  if node.written then -- what is on the left of a `=` is made, not read
    return nil
  end
  return shape and self:read(node, key.value, shape)
end

expression.table = function(self, node)
  for _, item in ipairs(node.items) do
    if item.key and item.key.tag ~= "string" then
      self:expr(item.key)
    end
    self:expr(item.value)
  end
  return { of = "table", node = node }
end

-- In this walk the function is called with this as its i-th argument: for the next walk.
local function merge(walk, node, i, shape)
  shape = shape and not ANSWER[shape.of] and shape
  local called = walk.calls[node] or {}
  walk.calls[node] = called
  local before = called[i]
  if before == nil then
    called[i] = shape or false
  elseif not shape or not before or shape.of ~= before.of then
    called[i] = false
  elseif shape.of == "event" then
    local kinds
    if shape.kinds and before.kinds then
      kinds = {}
      for kind in pairs(shape.kinds) do
        kinds[kind] = true
      end
      for kind in pairs(before.kinds) do
        kinds[kind] = true
      end
    end
    called[i] = { of = "event", kinds = kinds }
  end
end

-- What the parameters of a function are: a handler's first is the event; `ev` is always one.
local function shape_of_param(node, i, name)
  if node.handles and i == 1 then
    return { of = "event", kinds = node.kinds }
  end
  local called = node.called and node.called[i]
  if called then
    return called
  end
  return name == "ev" and called == nil and { of = "event" } or nil
end

expression["function"] = function(self, node)
  local handler, guarded = self.handler, self.guarded
  self.guarded = node.handles and 0 or guarded + 1
  self.handler = node.handles and node or handler
  self:open()
  for i, param in ipairs(node.params) do
    self:declare(param, shape_of_param(node, i, param.name), true)
  end
  self:statements(node.body)
  self:close()
  self.handler, self.guarded = handler, guarded
  return { of = "function", node = node }
end

-- What a function of the library gives.
local RESULTS = {
  ["mw.proc"] = PROCESS,
  ["string.format"] = STRING, ["string.sub"] = STRING, ["string.lower"] = STRING, ["tostring"] = STRING,
  ["mw.json"] = STRING, ["table.concat"] = STRING,
}

local function require_of(self, node)
  local name = unwrap(node.args[1])
  if not name or name.tag ~= "string" then
    return nil
  end
  if name.value == "moonwatch" then
    return { of = "members", path = "mw", names = self.facts.mw }
  end
  local lacks = self.lacks["require " .. name.value]
  if lacks then
    self:add(name, "warning", "profile", ("there is no module '%s'%s"):format(name.value, lacks))
  end
end

expression.call = function(self, node)
  local callee = self:expr(node.callee)
  local path = path_of(callee)
  if path == "mw.script" then
    self:check_script(node.args[1])
  elseif path == "mw.alert" then
    self:check_alert(node.args[1])
  elseif path == "mw.where" then
    node.where = true
  elseif path:match "^string%." then
    local plain = unwrap(node.args[4])
    self:check_pattern(node.args[2], path:sub(8), plain and plain.value ~= "false")
  end
  local shapes = self:list(node.args)
  if callee and callee.of == "function" then
    for i = 1, #callee.node.params do
      merge(self, callee.node, i, shapes[i])
    end
  end
  if (path == "ipairs" or path == "pairs") and shapes[1] and shapes[1].of == "rows" then
    return { of = "each", row = row_of(shapes[1]) }
  end
  return path == "require" and require_of(self, node) or RESULTS[path]
end

local function is_process(shape)
  return shape and (shape.of == "event" or shape.of == "process")
end

expression.method = function(self, node)
  local shape = self:expr(node.object)
  if is_process(shape) then
    if node.name == "get" or node.name == "why" then
      self:check_name(node.args[1], "ev:" .. node.name)
    elseif node.name == "ancestor" and unwrap(node.args[1]) and unwrap(node.args[1]).tag == "function" then
      merge(self, unwrap(node.args[1]), 1, PROCESS)
    elseif node.name == "ancestor" then
      self:check_ancestor(node.args[1])
    end
    if self.facts.methods[node.name] == nil and self.facts.topics[node.name] == nil and not self.set[node.name] then
      self:add(node, "warning", "method", ("there is no method '%s'%s"):format(shown(node.name),
        meant(node.name, "", self.facts.methods, self.facts.topics)))
    end
    self:check_question(node, shape)
  else
    if shape == STRING and not self.globals.string[node.name] then
      self:add(node, "warning", "method", ("strings have no method '%s'%s"):format(shown(node.name),
        self.lacks["string." .. node.name] or meant(node.name, "", self.globals.string)))
    end
    local plain = unwrap(node.args[3])
    self:check_pattern(node.args[1], node.name, plain and plain.value ~= "false")
  end
  self:list(node.args)
  if is_process(shape) and self.facts.topics[node.name] then
    return self:answer_of(node.name)
  end
  return is_process(shape) and node.name == "ancestor" and PROCESS
    or (node.name == "format" or node.name == "sub" or node.name == "lower" or node.name == "gsub") and STRING or nil
end

function Walk:check_ancestor(node)
  for _, item in each_key(self:table_of(node) or { items = {} }) do
    self:process_field(item.key, item.key.value, self.facts)
  end
end

-- --- statements --------------------------------------------------------------------------------------

local statement = {}

local function leaves(block)
  local last = block[#block]
  return last and (last.tag == "return" or last.tag == "break" or last.tag == "goto")
end

-- What stands behind `if ... then return end` is not reached by all.
function Walk:statements(block)
  local guarded = self.guarded
  for _, node in ipairs(block) do
    statement[node.tag](self, node)
    for _, arm in ipairs(node.tag == "if" and node.arms or {}) do
      if leaves(arm.block) then
        self.guarded = self.guarded + 1
      end
    end
  end
  self.guarded = guarded
end

function Walk:block(block)
  self:open()
  self:statements(block)
  self:close()
end

statement["local"] = function(self, node)
  if node.recursive then
    self:declare(node.names[1], { of = "function", node = node.list[1] })
    self:expr(node.list[1])
    return
  end
  local shapes = self:list(node.list)
  for i, name in ipairs(node.names) do
    self:declare(name, not (name.changes and shapes[i] and ANSWER[shapes[i].of]) and shapes[i] or nil)
  end
end

-- t.key = value, where t is a table that the text shows: as if it stood inside.
local function keep_later(self, target, value)
  local key, object = unwrap(target.key), unwrap(target.object)
  local into = object.tag == "name" and key.tag == "string" and self:table_of(object)
  if into and not self.tells and not target.kept then
    target.kept = true
    into.later = into.later or {}
    table.insert(into.later, { key = { tag = "string", value = key.value, line = target.line, col = target.col },
      value = value })
  end
end

function Walk:assign_index(target, value)
  target.written = true
  local shape = self:expr(target.object)
  local key = unwrap(target.key)
  if key.tag ~= "string" then
    self:expr(target.key)
  elseif is_process(shape) then
    self.set[key.value] = true
  elseif shape and ANSWER[shape.of] then
    self.assigned["row." .. key.value] = true
  elseif value then
    self.assigned[path_of(shape) .. "." .. key.value] = true
    keep_later(self, target, value)
  end
end

function Walk:assign_name(target, shape)
  local var = self:find(target.name)
  if var then
    var.shape, var.node.changes = nil, true -- for the next walk: it may come round to what stands before
    if shape and shape.of == "function" then
      var.shape = shape
    end
    return
  end
  self.assigned[target.name] = true
  if self.globals[target.name] == nil then
    self:add(target, "warning", "global", ("'%s' is set without `local`"):format(shown(target.name)))
  end
end

statement.assign = function(self, node)
  local shapes = self:list(node.list)
  for i, target in ipairs(node.targets) do
    if target.tag == "index" then
      self:assign_index(target, node.list[i])
    elseif target.tag == "name" then
      self:assign_name(target, shapes[i])
    end
  end
end

statement.do_call = function(self, node)
  self:expr(node.call)
end

statement["return"] = function(self, node)
  self:list(node.list)
end

statement["if"] = function(self, node)
  for i, arm in ipairs(node.arms) do
    if arm.test then
      self:expr(arm.test)
    end
    if i == 1 then
      self.guarded = self.guarded + 1
    end
    self:block(arm.block)
  end
  self.guarded = self.guarded - 1
end

statement["while"] = function(self, node)
  self:expr(node.test)
  self:block(node.block)
end

statement["repeat"] = function(self, node)
  self:open()
  self:statements(node.block)
  self:expr(node.test)
  self:close()
end

statement["for"] = function(self, node)
  local each = self:list(node.list)[1]
  local from, shape = unwrap(node.list[1]), nil
  if from and from.tag == "method" and from.name == "ancestors" then
    shape = PROCESS
  elseif from and from.tag == "call" and from.callee.tag == "index"
    and unwrap(from.callee.key).value == "processes" then
    shape = PROCESS
  end
  self:open()
  for i, name in ipairs(node.names) do
    local row = i == 2 and each and each.of == "each" and not name.changes and each.row
    self:declare(name, i == 1 and shape or row or nil, true)
  end
  self:statements(node.block)
  self:close()
end

statement["do"] = function(self, node)
  self:block(node.block)
end

local function nothing() end
statement["break"], statement["goto"], statement.label = nothing, nothing, nothing

-- --- tests of scripts --------------------------------------------------------------------------------

local TEST = set_of "name events alerts output errors options"
local TIMES = set_of "at type parent was args"

local function check_test_event(walk, node)
  local event = walk:table_of(node)
  local kind, kinds
  for _, item in each_key(event or { items = {} }) do
    if item.key.value == "type" and item.value.tag == "string" then
      kind = item.value
    end
  end
  if kind and not walk.facts.kinds[kind.value] then
    walk:add(kind, "error", "event", ("there is no event '%s'%s"):format(shown(kind.value),
      meant(kind.value, "", walk.facts.kinds)))
  end
  kinds = { [kind and kind.value or "exec"] = true }
  for _, item in each_key(event or { items = {} }) do
    local key = item.key.value
    local field = walk.facts.fields[key]
    if not TIMES[key] and not field then
      walk:add(item.key, "error", "field", ("events have no field '%s'%s"):format(shown(key),
        meant(key, "", walk.facts.fields, TIMES)))
    elseif field and kind then
      walk:check_kinds(item.key, key, field, kinds)
    end
  end
end

local function check_tests(walk, block)
  local last = block[#block]
  local list = last and last.tag == "return" and walk:table_of(last.list[1])
  if not list then
    walk:add(last or { line = 1, col = 1 }, "error", "test", "a test returns a list: return { { name = ..., events = { "
      .. "... }, alerts = 1 }, ... }")
    return
  end
  for _, item in ipairs(list.items) do
    local test = not item.key and walk:table_of(item.value)
    if test then
      walk:check_keys(test, TEST, "a test")
      local has = {}
      for _, part in each_key(test) do
        has[part.key.value] = part.value
      end
      if not has.events then
        walk:add(test, "error", "test", "a test has `events`, a list")
      end
      for _, event in ipairs(has.events and walk:table_of(has.events) and walk:table_of(has.events).items or {}) do
        check_test_event(walk, event.value)
      end
    end
  end
end

-- --- the whole ---------------------------------------------------------------------------------------

-- Where on its line the compiler's "near 'x'" is.
local function column_of(text, line, near)
  local at = 1
  for _ = 2, line do
    at = (text:find("\n", at, true) or #text) + 1
  end
  local row = text:sub(at, (text:find("\n", at, true) or #text + 1) - 1)
  local found = near and near ~= "<eof>" and row:find(near, 1, true)
  return found or (near == "<eof>" and #row + 1) or (row:find "%S") or 1
end

local function syntax_error(text, message)
  local line, what = message:match ":(%d+): (.*)$"
  if not line then
    line, what = 1, message
  end
  line = tonumber(line)
  if what:find "near '<eof>'$" then -- the end of what is there, not the line behind it
    line = select(2, text:gsub("%s+$", ""):gsub("\n", "")) + 1
  end
  return { { line = line, col = column_of(text, line, what:match "near '(.*)'$"), level = "error", code = "syntax",
    text = what } }
end

local function ignored(comments, findings)
  local left = {}
  for _, finding in ipairs(findings) do
    local comment = comments[finding.line]
    if not (comment and comment:find "lint:%s*ignore") then
      left[#left + 1] = finding
    end
  end
  return left
end

local function walk_all(walk, block, name)
  for pass = 1, 4 do
    walk.tells = pass == 4
    walk.scope, walk.guarded, walk.handler = nil, 0, nil
    for fn, called in pairs(walk.calls or {}) do
      fn.called = called
    end
    walk.calls = {}
    walk:open()
    walk:statements(block)
    if walk.tells and name:find "_test%.lua$" then
      check_tests(walk, block)
    end
    walk:close()
  end
end

---@param name string the file's
---@param text string
---@param facts table see above
---@return table[] findings
return function(name, text, facts)
  if text:sub(1, 1) == "\27" then
    return { { line = 1, col = 1, level = "error", code = "syntax", text = "this is bytecode, which is not loaded" } }
  end
  local chunk, message = loadstring(text, "=x")
  if not chunk then
    return syntax_error(text, message)
  end
  local walk = setmetatable({ facts = facts, findings = {}, set = {}, assigned = {},
    globals = facts.trusted and everything() or facts.globals, lacks = facts.trusted and {} or LACKS }, Walk)
  local ok, comments = pcall(function()
    local block, comments = syntax.parse(text)
    walk_all(walk, block, name)
    return comments
  end)
  if not ok then
    walk.tells = true
    walk:add({ line = 1, col = 1 }, "hint", "deep", "is nested too deeply to be looked at: " .. tostring(comments))
    comments = {}
  end
  for key in pairs(walk.set) do
    facts.set[key] = true -- for those that run later
  end
  local findings = ignored(comments, walk.findings)
  for i, finding in ipairs(findings) do
    finding.order = i
  end
  table.sort(findings, function(a, b)
    if a.line ~= b.line then
      return a.line < b.line
    elseif a.col ~= b.col then
      return a.col < b.col
    end
    return a.order < b.order
  end)
  return findings
end
