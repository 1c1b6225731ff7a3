-- mw.window: what it counts, for how long, and what it says when there is too much.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local fresh, blames = stand_in.fresh, stand_in.blames

describe("a window", function()
  it("counts what came within the span", function()
    local mw, world = fresh()
    local w = mw.window { span = "1m" }
    assert.equal(1, w:add "a")
    world.pass(30)
    assert.equal(2, w:add "a")
    assert.equal(1, w:add "b")
    world.pass(29.999)
    assert.equal(2, w:count "a")
    world.pass(0.001)
    assert.equal(1, w:count "a") -- what is a minute old is out
    assert.equal(1, w:count "b")
    world.pass(30)
    assert.equal(0, w:count "a")
    assert.equal(0, w:count "never")
    assert.equal(1, w:add "a")
  end)

  it("adds up, tells values apart, and knows the rate", function()
    local mw, world = fresh()
    local w = mw.window { span = "10s" }
    for _, port in ipairs { 22, 80, 80, 443 } do
      w:add("host", port)
    end
    assert.equal(625, w:sum "host")
    assert.equal(3, w:distinct "host")
    assert.equal(0.4, w:rate "host")
    world.pass(5)
    w:add("host", 80)
    world.pass(5)
    assert.equal(80, w:sum "host")
    assert.equal(1, w:distinct "host")
    assert.same({ 80 }, w:values "host")
    world.pass(5)
    assert.equal(0, w:distinct "host")
    assert.same({}, w:values "host")
    assert.equal(0, w:distinct "nobody")
  end)

  it("as in the documentation tells of a burst of different programs", function()
    local mw, world = fresh()
    local w = mw.window { span = "1m" }
    local function exec(ev)
      w:add(ev.sid, ev.comm)
      return w:distinct(ev.sid) >= 3
    end
    assert.is_false(exec { sid = 1, comm = "id" })
    assert.is_false(exec { sid = 1, comm = "id" })
    assert.is_false(exec { sid = 1, comm = "whoami" })
    assert.is_false(exec { sid = 2, comm = "uname" })
    world.pass(10)
    assert.is_true(exec { sid = 1, comm = "uname" })
  end)

  it("begins anew for a key that is forgotten, and goes through its keys", function()
    local mw, world = fresh()
    local w = mw.window { span = "10s" }
    w:add "old"
    world.pass(10)
    w:add "a"
    w:add "a"
    w:add("b", "value")
    local found = {}
    for key, count in w:each() do
      found[key] = count
      w:add(key .. "'")
    end
    assert.same({ a = 2, b = 1 }, found)
    w:forget "a"
    w:forget "b"
    w:forget "never"
    assert.equal(0, w:count "a")
    assert.equal(0, w:distinct "b")
    assert.equal(1, w:add "a")
  end)

  it("is exact up to 60 times in the span, and beyond never counts too little", function()
    for seed = 1, 30 do
      local mw, world = fresh()
      local random = stand_in.random(seed)
      local w = mw.window { span = 100 }
      local added, crowded = {}, false
      for _ = 1, 400 do
        world.pass(random(0, seed % 3 == 0 and 1 or 8))
        local value = random(1, 50)
        added[#added + 1] = { time = world.now, value = value }
        local count = w:add("k", value)
        local exact, sum, late, times, seen = 0, 0, 0, {}, {}
        local different, distinct = 0, 0
        for _, one in ipairs(added) do
          if one.time > world.now - 100 then
            exact, sum = exact + 1, sum + one.value
            different = different + (times[one.time] and 0 or 1)
            distinct = distinct + (seen[one.value] and 0 or 1)
            times[one.time], seen[one.value] = true, true
          end
          if one.time > world.now - 105 then
            late = late + 1
          end
        end
        crowded = crowded or different > 60
        assert.equal(count, w:count "k")
        assert.equal(distinct, w:distinct "k")
        if not crowded then
          assert.equal(exact, count)
          assert.equal(sum, w:sum "k")
        else
          assert.is_true(count >= exact and count <= late, ("%d of %d to %d"):format(count, exact, late))
        end
      end
      assert.equal(seed % 3 == 0, crowded)
    end
  end)

  it("drops the key that was used longest ago when there are too many, and says so", function()
    local mw, world = fresh()
    local w = mw.window { span = "1m", max = 3 }
    for _, key in ipairs { "a", "b", "c" } do
      w:add(key)
    end
    w:add "a"
    w:add "d"
    assert.equal(1, w.dropped)
    assert.same({ 2, 0, 1, 1 }, { w:count "a", w:count "b", w:count "c", w:count "d" })
    world.pass(60) -- what is over is no loss
    for _, key in ipairs { "e", "f", "g" } do
      w:add(key)
    end
    assert.equal(1, w.dropped)
  end)

  it("holds at most so many values of a key, and says how many it dropped", function()
    local mw, world = fresh()
    local w = mw.window { span = "1m", values = 3 }
    for i = 1, 5 do
      world.pass(1)
      w:add("k", "v" .. i)
    end
    assert.equal(3, w:distinct "k")
    assert.equal(2, w.dropped_values)
    local left = w:values "k"
    table.sort(left)
    assert.same({ "v3", "v4", "v5" }, left)
    local plain = mw.window { span = "1m", values = 0 }
    plain:add("k", 5)
    assert.same({ 0, 5 }, { plain:distinct "k", plain:sum "k" })
  end)

  it("has room again for values when those that it holds are too old", function()
    local mw, world = fresh()
    local w = mw.window { span = 60, values = 2 }
    w:add("k", "a")
    w:add("k", "b")
    world.pass(30)
    w:add "k" -- or all of the key would go
    world.pass(30)
    w:add("k", "c")
    assert.same({ 1, 0 }, { w:distinct "k", w.dropped_values })
    world.pass(60)
    assert.equal(0, w:distinct "k")
  end)

  it("holds ten values a key on the average: then the key that was used longest ago goes", function()
    local mw = fresh()
    local w = mw.window { span = 60, max = 2 }
    for i = 1, 12 do
      w:add("a", i)
    end
    for i = 1, 8 do
      w:add("b", i)
    end
    assert.same({ 12, 8, 0 }, { w:distinct "a", w:distinct "b", w.dropped })
    w:add("b", 9)
    assert.same({ 0, 9, 1 }, { w:distinct "a", w:distinct "b", w.dropped })
  end)

  it("stays bounded whatever comes", function()
    local mw, world = fresh()
    local w = mw.window { span = 50, max = 20 }
    local random = stand_in.random(7)
    for _ = 1, 20000 do
      world.pass(random(0, 1))
      local value = random(1, 3) == 1 and ("v"):rep(random(1, 5000)) or random(1, 10000)
      w:add(("x"):rep(random(1, 60)) .. random(1, 1000), value)
    end
    assert.is_true(w._keys.count <= 20 and w._keys.top <= 21)
    local held, bytes = 0, 0
    for slot = 1, w._keys.top do
      assert.is_true(not w._rows[slot] or #w._rows[slot] <= 4 + 60 * 4)
      for value in pairs(w._values[slot] and w._values[slot].last or {}) do
        held, bytes = held + 1, bytes + (type(value) == "string" and #value or 0)
      end
    end
    assert.equal(held, w._held)
    assert.equal(bytes, w._bytes)
    assert.is_true(held <= 200 + 256)
  end)

  it("holds long keys only as long as their text fits", function()
    local mw = fresh()
    local w = mw.window { span = "1m" }
    for i = 1, 200 do
      w:add(("x"):rep(65536) .. i)
    end
    assert.is_true(w._keys.bytes <= 4 * 1024 * 1024)
    assert.is_true(w.dropped > 100)
  end)

  it("does not mind a clock that is set back, nor events that swapped places", function()
    local mw, world = fresh()
    local w = mw.window { span = "1m" }
    w:add "a"
    world.now = world.now - 0.5
    assert.equal(2, w:add "a")
    world.pass(60.2)
    w:add "b"
    assert.equal(2, w:count "a") -- both as of the later one
    world.now = world.now - 3600
    assert.equal(1, w:add("a", 5))
    assert.equal(5, w:sum "a")
    world.pass(60)
    assert.equal(0, w:count "a")
  end)

  it("counts no event without a key, and says how many had none", function()
    local mw = fresh()
    local w = mw.window { span = "1m" }
    assert.equal(0, w:add(nil))
    assert.equal(0, w:add(0 / 0))
    assert.equal(0, w:count(nil))
    assert.equal(2, w.unkeyed)
    assert.equal(1, w:add("a", 0 / 0))
    assert.equal(0, w:sum "a")
  end)

  it("says what is wrong at the line where it was written", function()
    local mw = fresh()
    assert.truthy(blames(function() mw.window() end):find "takes a table of options: max, span, values")
    assert.truthy(blames(function() mw.window {} end):find "`span` is missing: a span of time")
    assert.truthy(blames(function() mw.window { span = "5 parsecs" } end):find "`span` must be a span of time")
    assert.truthy(blames(function() mw.window { span = 1, size = 3 } end):find "no option is named 'size'")
    assert.truthy(blames(function() mw.window { span = 1, max = 0 } end):find "`max` must be a whole number")
    local w = mw.window { span = 1 }
    assert.truthy(blames(function() w:add({}) end):find "a key must be a string, a number or a boolean, not a table")
    assert.truthy(blames(function() w:add("k", {}) end):find "a value must be")
  end)

  it("cannot be opened through its metatable", function()
    local mw = fresh()
    assert.equal("mw.window", getmetatable(mw.window { span = 1 }))
  end)
end)
