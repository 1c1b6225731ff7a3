-- mw.dedup and mw.throttle: lets some of what is equal through, holds the rest back, and always says
-- how many were held back.
--
-- One thing: at most `limit` of a key within any span of time pass. For dedup the limit is 1. mw.alert
-- has one of these for each script.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local recent = require "moonwatch.recent"
local core = mw._core
local now = core.now
local setmetatable, type, error, pairs, min, max = setmetatable, type, error, pairs, math.min, math.max

local NO_KEY = false -- in the place of nil: what has no key is equal to all that has none

local gate = {}
local Gate = {}
local meta = { __index = Gate, __metatable = "mw.gate" }

-- Nothing of the key is within the span any more. A clock that was set back ends it too.
local function over(self, slot, time)
  local since = time - self._last[slot]
  return since >= self._spans[slot] or since < -self._spans[slot]
end

-- The key has to make room.
local function left(self, slot, key)
  local held = self._held[slot]
  if held == 0 and over(self, slot, now()) then
    return
  end
  self.dropped = self.dropped + 1
  if held == 0 then
    return
  end
  if self._summary then
    self._summary(key or "", held)
  else
    self.dropped_held = self.dropped_held + held
  end
end

local function make(o)
  local self = setmetatable({
    span = o.span,
    limit = o.limit,
    passed = 0,
    held = 0,
    dropped = 0,
    dropped_held = 0,
    _summary = o.summary,
    _last = {}, -- [slot] = when the last one passed
    _rings = {}, -- [slot] = when the last `limit` passed, a ring; only where the limit is not 1
    _held = {}, -- [slot] = held back since the last that passed
    _spans = {},
  }, meta)
  self._keys = recent.new(o.max, function(slot, key)
    left(self, slot, key)
  end)
  if o.summary then
    core.every(max(1, min(o.span, 60)), function()
      for key, held in self:each_held() do
        o.summary(key, held)
      end
    end)
    core.at_exit(function()
      for key, held in self:each_held(true) do
        o.summary(key, held)
      end
    end)
  end
  return self
end

function gate.dedup(given)
  local o = options("mw.dedup", given, { span = { "span" }, max = { "count", 10000 }, summary = { "function" } })
  o.limit = 1
  return make(o)
end

function gate.throttle(given)
  local o = options("mw.throttle", given, {
    per = { "span" },
    limit = { "count" },
    max = { "count", 10000 },
    summary = { "function" },
  })
  if o.limit > 10000 then
    error("mw.throttle: `limit` must be 10,000 or less: each that passed is remembered", 2)
  end
  o.span = o.per
  return make(o)
end

-- Of a full ring: is the place of the one that passed `limit` before still taken?
local function full(self, slot, time, span)
  if self.limit == 1 then
    return not over(self, slot, time)
  end
  local ring = self._rings[slot]
  local first = ring[ring.n % self.limit + 1]
  return first and time - first < span and time - first >= -span
end

local function tidy(self, time)
  for _ = 1, 2 do
    local slot = self._keys:oldest()
    if slot == 0 or self._held[slot] > 0 or not over(self, slot, time) then
      return
    end
    self._keys:remove(slot)
  end
end

---May this one pass? The second value says how many of the key were held back since the last one
---that passed, this one included. `span` counts instead of the usual one for this call.
function Gate:pass(key, span)
  if key == nil or key ~= key then
    key = NO_KEY
  elseif type(key) ~= "string" and type(key) ~= "number" and type(key) ~= "boolean" then
    error("a key must be a string, a number or a boolean, not a " .. type(key), 2)
  end
  local time = now()
  span = span or self.span
  tidy(self, time)
  local slot, fresh = self._keys:touch(key)
  self._spans[slot] = span
  if fresh then
    self._held[slot] = 0
    self._rings[slot] = self.limit > 1 and { n = 0 } or false
  elseif full(self, slot, time, span) then
    local held = self._held[slot] + 1
    self._held[slot], self.held = held, self.held + 1
    return false, held
  end
  local held, ring = self._held[slot], self._rings[slot]
  if ring then
    ring[ring.n % self.limit + 1] = time
    ring.n = ring.n + 1
  end
  self._last[slot], self._held[slot], self.passed = time, 0, self.passed + 1
  return true, held
end

---What was held back and not told, because nothing of the key came after its span: key and how many.
---What was handed out is told. `all`: also of keys whose span lasts.
function Gate:each_held(all)
  local list, at, time = {}, 0, now()
  for key, slot in pairs(self._keys.slots) do
    if self._held[slot] > 0 and (all or over(self, slot, time)) then
      list[#list + 1] = key
    end
  end
  return function()
    while at < #list do
      at = at + 1
      local key = list[at]
      local slot = self._keys.slots[key]
      local held = slot and self._held[slot] or 0
      if held > 0 then
        self._held[slot] = 0
        return key or "", held
      end
    end
  end
end

gate.make = make

return gate
