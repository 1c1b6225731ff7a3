-- mw.list: a file beside the script with one value a line, which is read again when it changes.
--
-- The worker may open no files; who does is asked, every two seconds, whether the text is another. As
-- long as it cannot be read the values stay as they were.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local core = mw._core
local setmetatable, type, error, tostring, unpack = setmetatable, type, error, tostring, unpack

local PATIENCE = 30 -- seconds, when it cannot be had for another reason than that there is none

local ops = mw.set { "contains", "startswith", "endswith", "glob", "regex", "cidr", "windash" }

local List = {}
local meta = { __index = List, __metatable = "mw.list" }

-- Take what was read. Patterns that are none are left out, counted, and told.
local function take(self, values, set, count, dropped, hash)
  local skipped = 0
  if self._op then
    self._fits, skipped = core.match[self._op](values, { cased = self._cased, lenient = true })
  end
  self._values, self._set, self._hash, self._in_network = values, set, hash, nil
  self.count, self.dropped, self.skipped, self.problem = count, dropped, skipped, nil
  self.loaded = core.now()
  if dropped > 0 then
    core.log(("list '%s' has %d values too many, which are left out"):format(self.name, dropped))
  end
  if skipped > 0 then
    core.log(("list '%s': %d of %d lines are no %s, and are left out"):format(self.name, skipped, count, self._op))
  end
end

-- Read it if it is another; returns whether it was.
local function refresh(self)
  local read = { core._values(self.name, self._max, self._hash) }
  if read[1] then
    take(self, unpack(read))
    return true
  end
  local reason = read[2]
  if reason == "unchanged" then
    self.problem = nil
    return false
  end
  if self.problem ~= reason and self._hash then
    core.log(("list '%s' stays as it was: %s"):format(self.name, reason))
  end
  self.problem = reason
  self._not_before = core.now() + (reason == "no such file" and 0 or PATIENCE)
  return false
end

---@param given string|table
function List.new(given, more)
  if more ~= nil then
    error('mw.list takes a name, or a table of options: mw.list { file = "bad.txt", match = "glob" }', 2)
  end
  local o = options("mw.list", type(given) == "string" and { file = given } or given, {
    file = { "text" },
    every = { "span", 2 },
    max = { "count", 100000 },
    match = { "text", optional = true },
    cased = { "boolean", true },
    optional = { "boolean", false },
    changed = { "function" },
  })
  if o.match and not ops[o.match] then
    error("mw.list: `match` must be contains, startswith, endswith, glob, regex, cidr or windash", 2)
  end
  local self = setmetatable({
    name = o.file,
    count = 0,
    dropped = 0,
    skipped = 0,
    _op = o.match,
    _cased = o.cased,
    _max = o.max,
    _values = {},
    _set = {},
    _not_before = 0,
  }, meta)
  if not refresh(self) and not o.optional then
    error(("mw.list: '%s': %s"):format(o.file, tostring(self.problem)), 2)
  end
  core.every(o.every < 0.05 and 0.05 or o.every, function()
    local time = core.now()
    if time < self._not_before and time > self._not_before - 2 * PATIENCE then
      return
    end
    if refresh(self) and o.changed then
      o.changed(self)
    end
  end)
  return self
end

---Is the value one of the list's? With `match`: does one of the patterns fit?
---false without a value, and nil with a reason where it cannot be said.
function List:has(value)
  if value == nil then
    return false
  end
  if type(value) ~= "string" then
    value = tostring(value)
  end
  if not self._op then
    return self._set[value] ~= nil
  end
  if not self._fits then
    return false
  end
  return self._fits(value)
end

---Is the address in one of the networks, or one of the addresses, that the list has?
function List:contains_ip(address)
  if address == nil then
    return false
  end
  if not self._in_network then
    self._in_network, self.skipped = core.match.cidr(self._values, { lenient = true })
  end
  return self._in_network(address)
end

---The values, in the order of the file: a table of one's own.
function List:values()
  local values = {}
  for i = 1, #self._values do
    values[i] = self._values[i]
  end
  return values
end

return List
