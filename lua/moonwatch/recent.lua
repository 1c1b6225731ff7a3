-- Keys in the order of their last use, and never more than a number of them: who comes last pushes out
-- who was used longest ago. What window, sequence, dedup, throttle and labels keep by key hangs on it.
--
-- Each key has a slot, a small number under which the owner keeps what belongs to the key in arrays of
-- its own: no table per key, which is dense and little work for the collector of garbage.
local setmetatable, type = setmetatable, type

local recent, Recent = {}, {}
local meta = { __index = Recent, __metatable = "moonwatch.recent" }

local BYTES = 4 * 1024 * 1024 -- of the texts of keys: a command line may have 64 KiB

---@param max integer    keys at most
---@param left fun(slot: integer, key: any)  a key goes because there is no room for it
---@param bytes? integer  of text at most
function recent.new(max, left, bytes)
  return setmetatable({
    count = 0,
    max = max,
    bytes = 0,
    bytes_max = bytes or BYTES,
    left = left,
    slots = {}, -- [key] = slot
    keys = {}, -- [slot] = key
    newer = { [0] = 0 }, -- a ring through 0: newer[0] is the oldest, older[0] the newest
    older = { [0] = 0 },
    top = 0,
    free = nil, -- list through `older`
  }, meta)
end

local function size(key)
  return type(key) == "string" and #key or 0
end

local function unlink(self, slot)
  local newer, older = self.newer[slot], self.older[slot]
  self.older[newer], self.newer[older] = older, newer
end

local function link(self, slot)
  local newest = self.older[0]
  self.newer[slot], self.older[slot] = 0, newest
  self.newer[newest], self.older[0] = slot, slot
end

---The key goes.
function Recent:remove(slot)
  local key = self.keys[slot]
  unlink(self, slot)
  self.slots[key] = nil
  self.keys[slot] = false
  self.count = self.count - 1
  self.bytes = self.bytes - size(key)
  self.older[slot], self.free = self.free or 0, slot
end

local function make_room(self, bytes)
  while self.count >= self.max or (self.bytes + bytes > self.bytes_max and self.count > 0) do
    local slot = self.newer[0]
    self.left(slot, self.keys[slot])
    self:remove(slot)
  end
end

---The slot of the key, which is now the newest; the second value says whether it is new.
function Recent:touch(key)
  local slot = self.slots[key]
  if slot then
    if self.older[0] ~= slot then
      unlink(self, slot)
      link(self, slot)
    end
    return slot, false
  end
  local bytes = size(key)
  make_room(self, bytes)
  slot = self.free
  if slot and slot ~= 0 then
    self.free = self.older[slot]
  else
    slot = self.top + 1
    self.top = slot
  end
  self.slots[key], self.keys[slot] = slot, key
  self.count = self.count + 1
  self.bytes = self.bytes + bytes
  link(self, slot)
  return slot, true
end

---The slot that was used longest ago; 0: there is none.
function Recent:oldest()
  return self.newer[0]
end

return recent
