-- mw.label, mw.labels, mw.labelled: names that a script gives to processes, and that go on to their
-- children: what is forked after the label was set has it too, and so on, also when the process in
-- between has ended.
--
-- A script has labels of its own, which outlive its reload; a shadow has others. Kept is what was set
-- (at most 10,000 processes); what a process inherited follows from that, the times, and the parents,
-- and is remembered for as many, so that a question is mostly answered from one table.
local mw = require "moonwatch"
local recent = require "moonwatch.recent"
local core = mw._core
local type, error, pairs, next = type, error, pairs, next

local MAX = 10000 -- processes with labels, of a script
local NAMES = 64 -- of a process
-- By how much a start may be too early, by how it is known: /proc counts in ticks.
local SLACK = { connector = 0, tap = 0.001 }
local TICK = 0.01
local SWEEP_MAX = 4000 -- processes: with more, looking for who lives takes too long for one call

local labels = {}
local stores = {} -- [owner]
local nothing = {}

local function new_store()
  local store = {
    set = {}, -- [id] = { [name] = when }
    ended = {}, -- [id] = true: the last sweep found no living descendant
    dropped = 0,
    sweep_at = 64,
    inherited = {}, -- [slot] = { [name] = true }, or `nothing`
  }
  store.recent = recent.new(MAX, function(slot)
    store.dropped = store.dropped + 1
    store.set[store.recent.keys[slot]] = nil
  end)
  store.memory = recent.new(MAX, function(slot)
    store.inherited[slot] = nothing
  end)
  return store
end

local function store_of_owner()
  local owner = core._owner()
  local store = stores[owner]
  if not store then
    store = new_store()
    stores[owner] = store
  end
  return store
end

local function id_of(process, what)
  if type(process) ~= "table" then
    error(what .. ": an event or a process expected, not a " .. type(process), 3)
  end
  return process.id
end

-- Forked at `when` or later?
local function born_since(process, when)
  local start = process.start
  if not start then
    return false
  end
  return start >= when or (start + TICK > when and start + (SLACK[process:why "start"] or TICK) > when)
end

local inherited_by

-- The names that a child which is forked from this process now would have.
local function add_to(found, store, process, child)
  local own = store.set[process.id]
  for name, when in pairs(own or nothing) do
    if born_since(child, when) then
      found = found or {}
      found[name] = true
    end
  end
  for name in pairs(inherited_by(store, process)) do
    found = found or {}
    found[name] = true
  end
  return found
end

inherited_by = function(store, process)
  local id = process.id
  if not id then
    return nothing
  end
  local slot = store.memory.slots[id]
  if slot then
    return store.inherited[slot]
  end
  local parent = process.parent
  local found = parent and parent.id and add_to(nil, store, parent, process) or nothing
  slot = store.memory:touch(id)
  store.inherited[slot] = found
  return found
end

-- Labels of processes that ended go when no descendant of theirs lives either.
local function sweep(store)
  local pids = core.pids()
  if #pids > SWEEP_MAX then
    store.sweep_at = store.recent.count + SWEEP_MAX
    return
  end
  local living = {}
  for i = 1, #pids do
    local process = core.proc(pids[i])
    while process and process.id and not living[process.id] do
      living[process.id] = true
      process = process.parent
    end
  end
  local ended, survive = {}, 0
  for id in pairs(store.set) do
    if not living[id] and store.ended[id] then
      store.recent:remove(store.recent.slots[id])
      store.set[id] = nil
    elseif not living[id] then
      ended[id] = true -- its exit may be what is handled right now: it goes the next time
    else
      survive = survive + 1
    end
  end
  store.ended = ended
  store.sweep_at = store.recent.count + survive + 64
end

---Give the process a name. It and what it forks from now on have it.
---Returns true, or nil and why not: nothing tells this process apart from others.
function labels.label(process, name)
  local id = id_of(process, "mw.label")
  if type(name) ~= "string" or name == "" then
    error("mw.label: a name is a string", 2)
  end
  if not id then
    return nil, "its start is not known"
  end
  local store = store_of_owner()
  if not store.set[id] and store.recent.count >= store.sweep_at then
    sweep(store)
  end
  local own = store.set[id]
  store.recent:touch(id)
  if not own then
    own = {}
    store.set[id] = own
  end
  if own[name] then
    return true -- the earlier time is the one that counts for children
  end
  local count = 0
  for _ in pairs(own) do
    count = count + 1
  end
  if count >= NAMES then
    return nil, "it has " .. NAMES .. " labels"
  end
  own[name] = core.now()
  return true
end

---Its labels as a set, the inherited ones too: a table of one's own.
function labels.labels(process)
  local id = id_of(process, "mw.labels")
  local store, set = store_of_owner(), {}
  if id and next(store.set) then
    for name in pairs(store.set[id] or nothing) do
      set[name] = true
    end
    for name in pairs(inherited_by(store, process)) do
      set[name] = true
    end
  end
  return set
end

---Has it this label?
function labels.labelled(process, name)
  local id = id_of(process, "mw.labelled")
  local store = store_of_owner()
  if not id or not next(store.set) then
    return false
  end
  local own = store.set[id]
  return own ~= nil and own[name] ~= nil or inherited_by(store, process)[name] ~= nil
end

---How many labelled processes had to be forgotten because there were more than 10,000.
function labels.dropped()
  return store_of_owner().dropped
end

-- For tests: how many processes have labels.
function labels._count()
  return store_of_owner().recent.count
end

return labels
