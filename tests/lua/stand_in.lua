-- The Lua library with a stand-in for what C gives it: time stands still until a test moves it, and
-- the processes are those that a test makes up.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path

local stand_in = {}

---@return table mw
---@return table world  now, owner, timers, at_exit, logged, told, living: for the test to look at and to change
function stand_in.fresh()
  local world = { now = 1000, owner = 2, timers = {}, at_exit = {}, logged = {}, told = {}, living = {} }
  local methods = { _aliases = {} }
  function methods:why() return self.known or "connector" end

  local core = {
    _methods = methods,
    _fields = {},
    _owner = function() return world.owner end,
    _verdict = function() end,
    _alert = function(severity, text, event, tags, key, held)
      world.told[#world.told + 1] =
        { severity = severity, text = text, event = event, tags = tags, key = key, held = held }
    end,
    now = function() return world.now end,
    _clock = function() return world.now end,
    log = function(text) world.logged[#world.logged + 1] = text end,
    every = function(seconds, f)
      world.timers[#world.timers + 1] = { seconds = seconds, f = f, due = world.now + seconds, repeats = true }
      return #world.timers
    end,
    after = function(seconds, f)
      world.timers[#world.timers + 1] = { seconds = seconds, f = f, due = world.now + seconds }
      return #world.timers
    end,
    cancel = function(id) world.timers[id].f = nil end,
    at_exit = function(f) world.at_exit[#world.at_exit + 1] = f end,
    pids = function()
      local pids = {}
      for pid in pairs(world.living) do
        pids[#pids + 1] = pid
      end
      table.sort(pids)
      return pids
    end,
    proc = function(pid) return world.living[pid] end,
  }
  debug.getregistry().moonwatch = core
  for name in pairs(package.loaded) do
    if name:match "^moonwatch" then
      package.loaded[name] = nil
    end
  end
  local mw = require "moonwatch"

  ---Let time pass; timers that become due run at their times.
  function world.pass(seconds)
    local till = world.now + seconds
    while true do
      local next_one
      for _, timer in ipairs(world.timers) do
        if timer.f and timer.due <= till and (not next_one or timer.due < next_one.due) then
          next_one = timer
        end
      end
      if not next_one then
        break
      end
      world.now = math.max(world.now, next_one.due)
      local f = next_one.f
      next_one.due = next_one.due + next_one.seconds
      if not next_one.repeats then
        next_one.f = nil
      end
      f()
    end
    world.now = till
  end

  ---A process that was forked now.
  function world.fork(pid, parent, fields)
    local process = fields or {}
    process.pid, process.parent = pid, parent
    process.start = process.start or world.now
    process.starttime = process.starttime or math.floor(process.start * 100)
    process.id = process.id or pid .. "-" .. process.starttime
    setmetatable(process, { __index = methods })
    world.living[pid] = process
    return process
  end

  function world.exit(process)
    world.living[process.pid] = nil
  end

  world.core, world.methods = core, methods
  return mw, world
end

---Pseudo-random whole numbers, the same in each run.
function stand_in.random(seed)
  local state = seed
  return function(from, to)
    state = (state * 16807) % 2147483647
    return from + state % (to - from + 1)
  end
end

---The message of the error, which must be at this file's line: what is wrong is said where it was written.
function stand_in.blames(f)
  local ok, message = pcall(f)
  assert(not ok, "no error")
  assert(message:find "_spec.lua:%d+: ", "not at the caller's line: " .. message)
  return message
end

return stand_in
