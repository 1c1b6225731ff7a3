-- mw.sequence: this, then that, then that, by the same process, user or whatever, within a span.
--
-- Of each key and each number of steps that were seen, only the try that began last is kept: it has the
-- most time left, so it finishes whenever any other one would. That is exact, whatever overlaps, and
-- bounds what is kept to (steps - 1) tries for each key. An event is used for one step of a try, and
-- others may come between the steps. When a key has matched, all its tries are forgotten: it begins anew.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local recent = require "moonwatch.recent"
local now = mw._core.now
local setmetatable, type, error = setmetatable, type, error

local STEPS_MAX = 32

local Sequence = {}
local meta = { __index = Sequence, __metatable = "mw.sequence" }

-- Is any of the tries within the time?
local function alive(self, slot, time)
  local tries = self._tries[slot]
  for step = 1, #self._steps - 1 do
    local try = tries and tries[step]
    if try and time - try.since <= self.within and time - try.since >= -self.within then
      return true
    end
  end
  return false
end

function Sequence.new(given)
  local o = options("mw.sequence", given, {
    by = { "function" },
    within = { "span" },
    steps = { "functions" },
    matched = { "function" },
    max = { "count", 2000 },
  })
  if not o.by then
    error("mw.sequence: `by` is missing: a function that returns what the events must have in common", 2)
  end
  if #o.steps < 2 or #o.steps > STEPS_MAX then
    error("mw.sequence: `steps` must be a list of 2 to " .. STEPS_MAX .. " functions", 2)
  end
  local self = setmetatable({
    within = o.within,
    matches = 0,
    dropped = 0,
    unkeyed = 0,
    _by = o.by,
    _steps = o.steps,
    _matched = o.matched,
    _tries = {}, -- [slot] = { [steps seen] = { since, events... } }
  }, meta)
  self._keys = recent.new(o.max, function(slot)
    if alive(self, slot, now()) then
      self.dropped = self.dropped + 1
    end
    self._tries[slot] = false
  end)
  return self
end

local function tidy(self, time)
  for _ = 1, 2 do
    local slot = self._keys:oldest()
    if slot == 0 or alive(self, slot, time) then
      return
    end
    self._tries[slot] = false
    self._keys:remove(slot)
  end
end

local function grown(try, ev)
  local longer = { since = try.since }
  for i = 1, #try do
    longer[i] = try[i]
  end
  longer[#try + 1] = ev
  return longer
end

-- The events of a try that is complete with this one, or nil.
local function advance(self, tries, ev, time)
  local steps = self._steps
  for step = #steps - 1, 1, -1 do
    local try = tries[step]
    if try then
      local age = time - try.since
      if age > self.within or age < -self.within then
        tries[step] = false
      elseif steps[step + 1](ev) then
        if step == #steps - 1 then
          return grown(try, ev)
        end
        local ahead = tries[step + 1]
        if not ahead or ahead.since < try.since then
          tries[step + 1] = grown(try, ev)
        end
        tries[step] = false -- that ahead began at the same time or later
      end
    end
  end
end

---Look at an event. Returns the events of the steps when it was the last one of the sequence.
function Sequence:feed(ev)
  local key = self._by(ev)
  if key == nil or key ~= key then
    self.unkeyed = self.unkeyed + 1
    return nil
  end
  if type(key) ~= "string" and type(key) ~= "number" and type(key) ~= "boolean" then
    error("mw.sequence: `by` must return a string, a number or a boolean, not a " .. type(key), 2)
  end
  local time = now()
  tidy(self, time)
  local slot = self._keys.slots[key]
  local events = slot and advance(self, self._tries[slot], ev, time)
  if events then
    self._tries[slot] = false
    self._keys:remove(slot)
    self.matches = self.matches + 1
    events.since = nil
    if self._matched then
      self._matched(events, key)
    end
    return events
  end
  if self._steps[1](ev) then
    local fresh
    slot, fresh = self._keys:touch(key)
    if fresh then
      self._tries[slot] = {}
    end
    self._tries[slot][1] = { since = time, ev }
  end
  return nil
end

---Begin anew for this key.
function Sequence:forget(key)
  local slot = key ~= nil and self._keys.slots[key]
  if slot then
    self._tries[slot] = false
    self._keys:remove(slot)
  end
end

return Sequence
