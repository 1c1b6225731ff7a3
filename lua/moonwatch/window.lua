-- mw.window: how much of something came within the last minute, by key.
--
-- What was added counts for the span, exactly, as long as a key has no more than 60 additions of
-- different times in it. With more, neighbours are put together, never over more than a twentieth of
-- the span, and count as if all had come with the last of them: then the answer may include what is
-- up to 5 % of the span too old, and never lacks anything.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local recent = require "moonwatch.recent"
local now = mw._core.now
local setmetatable, type, error, pairs = setmetatable, type, error, pairs

local CELLS = 60 -- of a key
local TOGETHER = 20 -- parts of the span that cells are put together in

-- A key's row: [1] how many cells there ever were, [2] how many of them are over, [3] count and [4] sum of
-- those that are left; then a ring of cells of four: last time, first time, count, sum.
local function cell_at(number)
  return number % CELLS * 4 + 5
end

local Window = {}
local meta = { __index = Window, __metatable = "mw.window" }

-- What belongs to a key that goes.
local function release(self, slot)
  local values = self._values[slot]
  if values then
    self._held = self._held - values.count
    self._bytes = self._bytes - values.bytes
  end
  self._rows[slot], self._values[slot] = false, false
end

---@param given table
function Window.new(given)
  local o = options("mw.window", given, {
    span = { "span" },
    max = { "count", 10000 },
    values = { "limit", 256 },
  })
  local self = setmetatable({
    span = o.span,
    dropped = 0,
    dropped_values = 0,
    unkeyed = 0,
    _most = o.values,
    _rows = {},
    _newest = {}, -- [slot] = time of the last addition
    _values = {}, -- [slot] = { last = { [value] = time }, count, bytes, since }, or false
    _held = 0, -- values in all
    _bytes = 0, -- of their texts
  }, meta)
  self._keys = recent.new(o.max, function(slot)
    if self._newest[slot] > now() - self.span then
      self.dropped = self.dropped + 1
    end
    release(self, slot)
  end)
  return self
end

local function expire(row, before)
  local done = row[2]
  while done < row[1] do
    local at = cell_at(done)
    if row[at] > before then
      break
    end
    row[3], row[4] = row[3] - row[at + 2], row[4] - row[at + 3]
    done = done + 1
  end
  row[2] = done
  if done == row[1] then
    row[3], row[4] = 0, 0 -- what rounding left of a sum
  end
end

-- The row has no room for a cell: neighbours become one while they are close.
local function put_together(row, most)
  local to = row[2]
  local into = cell_at(to)
  for number = to + 1, row[1] - 1 do
    local at = cell_at(number)
    if row[at] - row[into + 1] < most then
      row[into], row[into + 2], row[into + 3] = row[at], row[into + 2] + row[at + 2], row[into + 3] + row[at + 3]
    else
      to = to + 1
      into = cell_at(to)
      row[into], row[into + 1], row[into + 2], row[into + 3] = row[at], row[at + 1], row[at + 2], row[at + 3]
    end
  end
  row[1] = to + 1
end

local function append(self, row, time, amount)
  local newest = cell_at(row[1] - 1)
  if row[1] > row[2] and row[newest] == time then
    row[newest + 2], row[newest + 3] = row[newest + 2] + 1, row[newest + 3] + amount
  else
    if row[1] - row[2] == CELLS then
      put_together(row, self.span / TOGETHER)
    end
    local at = cell_at(row[1])
    row[at], row[at + 1], row[at + 2], row[at + 3] = time, time, 1, amount
    row[1] = row[1] + 1
  end
  row[3], row[4] = row[3] + 1, row[4] + amount
end

-- Forget values that are too old; returns the one that was seen longest ago.
local function expire_values(self, values, before)
  local oldest, since
  for value, time in pairs(values.last) do
    if time <= before then
      local bytes = type(value) == "string" and #value or 0
      values.last[value] = nil
      values.count, values.bytes = values.count - 1, values.bytes - bytes
      self._held, self._bytes = self._held - 1, self._bytes - bytes
    elseif not since or time < since then
      oldest, since = value, time
    end
  end
  values.since = since
  return oldest
end

-- More than all keys together may hold: the keys that were used longest ago go.
local function make_room(self, slot)
  local most = self._keys.max * 10
  while (self._held > most or self._bytes > self._keys.bytes_max) and self._keys:oldest() ~= slot do
    local oldest = self._keys:oldest()
    self._keys.left(oldest)
    self._keys:remove(oldest)
  end
end

local function add_value(self, slot, value, time)
  local values = self._values[slot]
  if not values then
    values = { last = {}, count = 0, bytes = 0, since = time }
    self._values[slot] = values
  end
  if values.last[value] then
    values.last[value] = time
    return
  end
  if values.count >= self._most then
    local oldest = expire_values(self, values, time - self.span)
    if values.count >= self._most then
      values.last[oldest] = time - self.span -- goes below
      expire_values(self, values, time - self.span)
      self.dropped_values = self.dropped_values + 1
    end
  end
  local bytes = type(value) == "string" and #value or 0
  values.last[value] = time
  values.count, values.bytes = values.count + 1, values.bytes + bytes
  values.since = values.since or time
  self._held, self._bytes = self._held + 1, self._bytes + bytes
  make_room(self, slot)
end

-- Keys in which nothing is left go by the way, oldest first.
local function tidy(self, before)
  for _ = 1, 2 do
    local slot = self._keys:oldest()
    if slot == 0 or self._newest[slot] > before then
      return
    end
    release(self, slot)
    self._keys:remove(slot)
  end
end

local plain = { string = true, number = true, boolean = true }

local function check(value, what)
  if not plain[type(value)] then
    error(("mw.window: %s must be a string, a number or a boolean, not a %s"):format(what, type(value)), 3)
  end
end

---One more under this key, now. Returns how many there are within the span, this one included.
---Without a key nothing is counted but `unkeyed`.
function Window:add(key, value)
  if key == nil or key ~= key then
    self.unkeyed = self.unkeyed + 1
    return 0
  end
  check(key, "a key")
  if value ~= nil then
    check(value, "a value")
  end
  local time = now()
  local before = time - self.span
  tidy(self, before)
  local slot, fresh = self._keys:touch(key)
  local row, newest = self._rows[slot], self._newest[slot]
  if fresh or newest > time + self.span then -- new; or the clock was set back
    if not fresh then
      release(self, slot)
    end
    row = { 0, 0, 0, 0 }
    self._rows[slot], self._values[slot] = row, false
  elseif newest > time then
    time = newest -- events of one instant may come in another order
  end
  self._newest[slot] = time
  expire(row, before)
  append(self, row, time, type(value) == "number" and value == value and value or 0)
  if value ~= nil and value == value and self._most > 0 then
    add_value(self, slot, value, time)
  end
  return row[3]
end

-- Count and sum as of now. The row stays as it is: an event may come that is older than now.
local function read(self, key)
  local slot = key ~= nil and self._keys.slots[key]
  if not slot then
    return 0, 0
  end
  local row, before = self._rows[slot], now() - self.span
  local count, sum = row[3], row[4]
  for number = row[2], row[1] - 1 do
    local at = cell_at(number)
    if row[at] > before then
      return count, sum
    end
    count, sum = count - row[at + 2], sum - row[at + 3]
  end
  return 0, 0
end

---How many were added within the span.
function Window:count(key)
  return (read(self, key))
end

---The numbers that were added within the span, added up.
function Window:sum(key)
  local _, sum = read(self, key)
  return sum
end

---How many a second, over the span.
function Window:rate(key)
  return (read(self, key)) / self.span
end

---How many different values came within the span; at least so many, when some were dropped.
function Window:distinct(key)
  local slot = key ~= nil and self._keys.slots[key]
  local values = slot and self._values[slot]
  if not values then
    return 0
  end
  local before, count = now() - self.span, values.count
  if values.since and values.since <= before then
    for _, time in pairs(values.last) do
      if time <= before then
        count = count - 1
      end
    end
  end
  return count
end

---The different values within the span, in no order.
function Window:values(key)
  local slot = key ~= nil and self._keys.slots[key]
  local values, list, before = slot and self._values[slot], {}, now() - self.span
  for value, time in pairs(values and values.last or {}) do
    if time > before then
      list[#list + 1] = value
    end
  end
  return list
end

---Begin anew for this key, as after an alert.
function Window:forget(key)
  local slot = key ~= nil and self._keys.slots[key]
  if slot then
    release(self, slot)
    self._keys:remove(slot)
  end
end

---All keys with something within the span, in no order, and how many each has.
function Window:each()
  local keys, at = {}, 0
  for key in pairs(self._keys.slots) do -- all of them first: the loop may add some
    keys[#keys + 1] = key
  end
  return function()
    while at < #keys do
      at = at + 1
      local count = read(self, keys[at])
      if count > 0 then
        return keys[at], count
      end
    end
  end
end

return Window
