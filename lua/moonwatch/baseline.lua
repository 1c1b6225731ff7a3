-- mw.baseline: was this ever seen before on this host?
--
-- What was seen is in a store of mw.persist's, one entry for each key, written when the key is new: it
-- survives reloads and restarts. The first question begins the time of learning, in which nothing is
-- new. What finds no room in the store is remembered for as long as the script runs, and counted.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local recent = require "moonwatch.recent"
local core = mw._core
local setmetatable, type, error, tostring, select = setmetatable, type, error, tostring, select

local SINCE = true -- the key under which the store has the time of the first question
local UNKEPT = 10000

local Baseline = {}
local meta = { __index = Baseline, __metatable = "mw.baseline" }

local function new(given)
  local o = options("mw.baseline", given, {
    name = { "text" },
    learn = { "span", 7 * 86400 },
    max = { "count", 100000 },
    size = { "size", "8M" },
  })
  local self = setmetatable({
    name = o.name,
    learn = o.learn,
    max = o.max,
    dropped = 0,
    unkeyed = 0,
    _store = mw.persist { name = "baseline " .. o.name, max = o.size },
  }, meta)
  self._unkept = recent.new(UNKEPT, function() end)
  self.since = self._store:get(SINCE)
  local entries = select(3, self._store:size())
  self.count = entries - (self.since and 1 or 0)
  return self
end

-- Since when it learns; the first question settles it. A clock that was far ahead then does not count.
local function since(self, time)
  if not self.since or time < self.since - self.learn then
    self.since = time
    self._store:set(SINCE, time)
  end
  return self.since
end

-- Remember the key. When it cannot be kept, that is told once.
local function remember(self, key)
  local kept, reason
  if self.count < self.max then
    kept, reason = self._store:set(key, true)
  else
    reason = ("full: it has %d keys"):format(self.max)
  end
  if kept then
    self.count = self.count + 1
    return
  end
  self._unkept:touch(key)
  self.dropped = self.dropped + 1
  if not self.problem then
    core.log(("baseline '%s' keeps no more, what is new will be new again after a restart: %s"):format(self.name,
      tostring(reason)))
  end
  self.problem = reason
end

local function text_of(key)
  if type(key) ~= "string" and type(key) ~= "number" and type(key) ~= "boolean" then
    error("mw.baseline: a key must be a string, a number or a boolean, not a " .. type(key), 3)
  end
  return tostring(key)
end

---Was it never seen before? While learning: false, and it is known from now on.
---Without a key: nil.
function Baseline:new(key)
  if key == nil or key ~= key then
    self.unkeyed = self.unkeyed + 1
    return nil
  end
  key = text_of(key)
  local time = core.now()
  local learning = time < since(self, time) + self.learn
  if self._store:get(key) ~= nil then
    return false
  end
  if self._unkept.slots[key] then
    self._unkept:touch(key)
    return false
  end
  remember(self, key)
  return not learning
end

---Is it known? Asks without learning.
function Baseline:knows(key)
  if key == nil or key ~= key then
    return false
  end
  key = text_of(key)
  return self._store:get(key) ~= nil or self._unkept.slots[key] ~= nil
end

---Does it learn, and for how many seconds yet?
function Baseline:learning()
  local left = self.since and self.since + self.learn - core.now() or self.learn
  return left > 0, left > 0 and left or 0
end

---The key is unknown again.
function Baseline:forget(key)
  key = text_of(key)
  if self._store:get(key) ~= nil and self._store:set(key, nil) then
    self.count = self.count - 1
  end
  if self._unkept.slots[key] then
    self._unkept:remove(self._unkept.slots[key])
  end
end

---All keys that are kept, in no order.
function Baseline:each()
  local list, at = {}, 0
  for key in self._store:each() do
    if key ~= SINCE then
      list[#list + 1] = key
    end
  end
  return function()
    at = at + 1
    return list[at]
  end
end

return { new = new }
