-- p:watch: follow a process and all its descendants for a while, by asking /proc again and again.
--
-- Each look asks the collector for the processor time and the memory of each process, and for its
-- sockets if they are wanted. So what a look costs is bounded: 64 processes, a quarter of a second, and
-- 32 watches of a script. What was left out is told.
local mw = require "moonwatch"
local options = require "moonwatch.options"
local core = mw._core
local setmetatable, type, error, pairs, ipairs = setmetatable, type, error, pairs, ipairs

local WATCHES = 32 -- of a script
local PROCESSES = 64 -- of a watch
local LOOK = 0.25 -- seconds: then what is left has to wait for the next look

local Watch = {}
local meta = { __index = Watch, __metatable = "mw.watch" }

local running = {} -- [owner][id] = watch

-- Those that still look. The timers of a version that was reloaded are gone, and so are its watches.
local function watches_of_owner()
  local owner, time, count = core._owner(), core.now(), 0
  running[owner] = running[owner] or {}
  for id, watch in pairs(running[owner]) do
    if time - watch._looked > 3 * watch._every + 10 or time - watch._looked < -60 then
      running[owner][id] = nil
    else
      count = count + 1
    end
  end
  return running[owner], count
end

-- Of one process: processor time since the last look, or since it was forked when that was later.
local function cpu_since(self, process, stat, before)
  local used = stat.utime + stat.stime
  self._used[process.id] = used
  if before[process.id] then
    return used - before[process.id]
  end
  return self._looked_once and process.start and process.start >= self._looked - 0.02 and used or 0
end

local function add_sockets(self, figures, process, before)
  local sockets, reason = process:sockets()
  if not sockets then
    self.problem = reason ~= "gone" and reason or self.problem
    return
  end
  for _, socket in ipairs(sockets) do
    socket.pid, socket.comm = process.pid, process.comm
    figures.sockets[#figures.sockets + 1] = socket
    local inode = socket.inode
    if inode and not before[inode] and not self._sockets[inode] then -- who forks shares its sockets
      figures.new_sockets[#figures.new_sockets + 1] = socket
    end
    self._sockets[inode or 0] = true
  end
end

-- Look at all of them; nil when nobody of them lives.
local function look(self)
  local from, began = core.now(), core._clock()
  local kin, count = core._kin(self.process, PROCESSES)
  if count == 0 then
    return nil
  end
  local figures = { cpu = 0, rss = 0, threads = 0, processes = count, left_out = count - #kin, sockets = {},
    new_sockets = {} }
  local used, sockets, cpu = self._used, self._sockets, 0
  self._used, self._sockets = {}, {}
  for i, process in ipairs(kin) do
    if i > 1 and core._clock() - began > LOOK then
      figures.left_out = figures.left_out + #kin - i + 1
      break
    end
    local stat, reason = process:stat()
    if stat then
      cpu = cpu + cpu_since(self, process, stat, used)
      figures.rss = figures.rss + (stat.rss or 0)
      figures.threads = figures.threads + (stat.threads or 0)
      if self._with_sockets then
        add_sockets(self, figures, process, sockets)
      end
    else
      self.problem = reason ~= "gone" and reason or self.problem
    end
  end
  local interval = from - self._looked
  figures.cpu = self._looked_once and interval > 0 and cpu / interval or 0
  figures.interval = interval
  self._looked, self._looked_once = from, true
  return figures
end

local function stop(self, why)
  if not self._timer then
    return
  end
  core.cancel(self._timer)
  self._timer = nil
  local watches = running[self._owner]
  if watches and watches[self._id] == self then
    watches[self._id] = nil
  end
  if self._done then
    self._done(self.process, why)
  end
end

local function tick(self)
  local figures = look(self)
  if not figures then
    return stop(self, "gone")
  end
  if self._begun then
    self.samples = self.samples + 1
    if self._sample then
      self._sample(self.process, figures)
    end
  else
    self._begun = self._looked -- the first look is what the next one is compared with
  end
  if self._looked - self._begun >= self._for and self._timer then
    stop(self, "over")
  end
end

local Watching = {}

---Follow this process and its descendants. Returns the watch; or nil and why not.
function Watching.watch(process, given)
  if type(process) ~= "table" or process.pid == nil then
    error("p:watch belongs to an event or a process: ev:watch { ... }", 2)
  end
  local o = options("p:watch", given, {
    every = { "span", 1 },
    for_ = { "span", 30 },
    sample = { "function" },
    done = { "function" },
    sockets = { "boolean", true },
  })
  if o.every < 0.1 then
    error("p:watch: `every` must be 100 ms or more", 2)
  end
  if not process.id then
    return nil, "its start is not known"
  end
  local watches, count = watches_of_owner()
  if watches[process.id] then
    return nil, "watched already"
  end
  if count >= WATCHES then
    return nil, WATCHES .. " watches run already"
  end
  local self = setmetatable({
    process = process,
    samples = 0,
    _id = process.id,
    _owner = core._owner(),
    _every = o.every,
    _for = o.for_,
    _sample = o.sample,
    _done = o.done,
    _with_sockets = o.sockets,
    _used = {}, -- [id] = processor time
    _sockets = {}, -- [inode] = true
    _looked = core.now(),
  }, meta)
  watches[process.id] = self
  core.after(0, function()
    if self._timer and not self._begun then
      tick(self)
    end
  end)
  self._timer = core.every(o.every, function()
    tick(self)
  end)
  return self
end

---End it now; `done` is told "cancelled".
function Watch:cancel()
  stop(self, "cancelled")
end

---Does it still look?
function Watch:running()
  return self._timer ~= nil
end

return Watching
