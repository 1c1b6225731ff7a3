-- mw.baseline: what is new, what is learned, and what happens when no more can be kept.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local blames = stand_in.blames

-- A store that outlives the library, as mw.persist's does.
local function new_disk()
  return { stores = {}, writes = 0 }
end

local function fresh(disk)
  local mw, world = stand_in.fresh()
  disk = disk or new_disk()
  function mw.persist(o)
    local values = disk.stores[o.name] or {}
    disk.stores[o.name], disk.max = values, o.max
    return {
      get = function(_, key) return values[key] end,
      set = function(_, key, value)
        disk.writes = disk.writes + 1
        if disk.full and value ~= nil and values[key] == nil then
          return nil, "full: it is a stand-in"
        end
        values[key] = value
        return true
      end,
      each = function() return pairs(values) end,
      size = function()
        local n = 0
        for _ in pairs(values) do
          n = n + 1
        end
        return 0, 0, n
      end,
      durable = function() return true end,
    }
  end
  return mw, world, disk
end

local DAY = 86400

describe("a baseline", function()
  it("as in the documentation learns for a week and then tells what is new", function()
    local mw, world = fresh()
    local b = mw.baseline { name = "programs", learn = "7d" }
    assert.is_false(b:new "/usr/bin/ls")
    world.pass(7 * DAY - 1)
    assert.is_false(b:new "/usr/bin/cat")
    world.pass(1)
    assert.is_false(b:new "/usr/bin/ls")
    assert.is_true(b:new "/tmp/x")
    assert.is_false(b:new "/tmp/x")
    assert.equal(3, b.count)
  end)

  it("learns from the first question on, and knows for how long yet", function()
    local mw, world = fresh()
    local b = mw.baseline { name = "x", learn = 100 }
    world.pass(1000)
    assert.same({ true, 100 }, { b:learning() })
    b:new "a"
    world.pass(60)
    assert.same({ true, 40 }, { b:learning() })
    world.pass(60)
    assert.same({ false, 0 }, { b:learning() })
  end)

  it("goes on after a restart where it was", function()
    local mw, _, disk = fresh()
    local b = mw.baseline { name = "x", learn = 100 }
    b:new "a"
    local world
    mw, world = fresh(disk)
    world.now = 1050
    b = mw.baseline { name = "x", learn = 100 }
    assert.equal(1, b.count)
    assert.is_false(b:new "b")
    world.now = 1100
    assert.is_true(b:new "c")
    assert.is_false(b:new "a")
    assert.is_true(mw.baseline({ name = "other", learn = 1 }):learning())
  end)

  it("writes once for each new key", function()
    local mw, _, disk = fresh()
    local b = mw.baseline { name = "x", learn = 100 }
    for _ = 1, 10 do
      b:new "a"
      b:new "b"
    end
    assert.equal(3, disk.writes) -- and when it began
  end)

  it("takes numbers and truth values by their texts, and nothing for no question", function()
    local mw = fresh()
    local b = mw.baseline { name = "x", learn = 100 }
    b:new(22)
    b:new(true)
    assert.is_true(b:knows "22" and b:knows(22) and b:knows "true")
    assert.is_false(b:knows "23" or b:knows(nil))
    assert.is_nil(b:new(nil))
    assert.equal(1, b.unkeyed)
    assert.equal(2, b.count)
    local keys = {}
    for key in b:each() do
      keys[#keys + 1] = key
    end
    table.sort(keys)
    assert.same({ "22", "true" }, keys)
  end)

  it("that is full tells what is new once while it runs, counts it and says so", function()
    for _, by in ipairs { "max", "store" } do
      local mw, world, disk = fresh()
      local b = mw.baseline { name = "x", learn = 1, max = by == "max" and 2 or 100 }
      b:new "a"
      b:new "b"
      disk.full = by == "store"
      world.pass(1)
      assert.is_true(b:new "c")
      assert.is_false(b:new "c")
      assert.is_true(b:new "d")
      assert.is_true(b:knows "c")
      assert.same({ 2, 2 }, { b.count, b.dropped })
      assert.equal(1, #world.logged)
      assert.truthy(world.logged[1]:find "^baseline 'x' keeps no more, .*: full")
      for i = 1, 10100 do
        b:new("n" .. i)
      end
      assert.is_true(b._unkept.count <= 10000)
      b:forget "a"
      disk.full = false
      assert.is_true(b:new "a")
      assert.equal(2, b.count)
    end
  end)

  it("forgets when told", function()
    local mw, world = fresh()
    local b = mw.baseline { name = "x", learn = 1 }
    b:new "a"
    world.pass(1)
    b:forget "a"
    b:forget "never"
    assert.equal(0, b.count)
    assert.is_true(b:new "a")
  end)

  it("that began with a clock far ahead begins again", function()
    local mw, world = fresh()
    world.now = 5e9
    local b = mw.baseline { name = "x", learn = 100 }
    b:new "a"
    world.now = 1000
    b:new "b"
    world.pass(100)
    assert.is_true(b:new "c")
  end)

  it("says what is wrong at the line where it was written", function()
    local mw = fresh()
    assert.truthy(blames(function() mw.baseline {} end):find "`name` is missing")
    assert.truthy(blames(function() mw.baseline { name = "x", learn = "soon" } end):find "`learn` must be a span")
    assert.truthy(blames(function() mw.baseline({ name = "x" }):new({}) end):find "a key must be")
  end)
end)
