-- mw.dedup and mw.throttle: who passes, and that no count of those held back is lost.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local fresh, blames = stand_in.fresh, stand_in.blames

describe("dedup", function()
  it("lets the first pass, and the next after the span, which says how many were held back", function()
    local mw, world = fresh()
    local d = mw.dedup { span = "5m" }
    assert.same({ true, 0 }, { d:pass "a" })
    assert.same({ false, 1 }, { d:pass "a" })
    assert.same({ true, 0 }, { d:pass "b" })
    world.pass(299)
    assert.same({ false, 2 }, { d:pass "a" })
    world.pass(1)
    assert.same({ true, 2 }, { d:pass "a" })
    assert.same({ false, 1 }, { d:pass "a" })
    assert.same({ 3, 3 }, { d.passed, d.held })
  end)

  it("as in the documentation tells once in five minutes", function()
    local mw, world = fresh()
    local told = {}
    local d = mw.dedup { span = "5m" }
    local function exit(ev)
      local go, held = d:pass(ev.comm)
      if go then
        told[#told + 1] = ("%s failed, %d more before"):format(ev.comm, held)
      end
    end
    for _ = 1, 4 do
      exit { comm = "backup" }
    end
    world.pass(300)
    exit { comm = "backup" }
    assert.same({ "backup failed, 0 more before", "backup failed, 3 more before" }, told)
  end)

  it("takes what has no key for equal", function()
    local mw = fresh()
    local d = mw.dedup { span = 10 }
    assert.is_true(d:pass(nil))
    assert.is_false((d:pass(nil)))
    assert.is_false((d:pass(0 / 0)))
    assert.is_true(d:pass "")
  end)

  it("may have another span for one call", function()
    local mw, world = fresh()
    local d = mw.dedup { span = 100 }
    d:pass("a", 10)
    world.pass(10)
    assert.is_true(d:pass("a", 10))
  end)

  it("hands out what was held back when nothing more came", function()
    local mw, world = fresh()
    local d = mw.dedup { span = 10 }
    for _, key in ipairs { "a", "a", "a", "b", "c", "c" } do
      d:pass(key)
    end
    assert.is_nil(d:each_held()()) -- the span lasts: the next one may say it
    world.pass(10)
    d:pass "c" -- says so itself
    local found = {}
    for key, held in d:each_held() do
      found[key] = held
    end
    assert.same({ a = 2 }, found)
    assert.is_nil(d:each_held()())
    d:pass "c"
    assert.same({ "c", 1 }, { d:each_held(true)() })
  end)

  it("with a summary tells of them by itself: after the span, when they make room, and at the end", function()
    local mw, world = fresh()
    local told = {}
    local d = mw.dedup { span = 30, max = 2, summary = function(key, held) told[#told + 1] = key .. "+" .. held end }
    world.pass(1)
    d:pass "a"
    d:pass "a"
    world.pass(30)
    assert.same({}, told) -- looked at each 30 s: a moment too early
    world.pass(29)
    assert.same({ "a+1" }, told)
    for _, key in ipairs { "b", "b", "b", "c", "d", "d" } do
      d:pass(key)
    end
    assert.same({ "a+1", "b+2" }, told)
    world.at_exit[1]()
    assert.same({ "a+1", "b+2", "d+1" }, told)
    assert.equal(0, d.dropped_held)
  end)

  it("says how many were forgotten with their keys", function()
    local mw, world = fresh()
    local d = mw.dedup { span = 100, max = 3 }
    for _ = 1, 4 do
      d:pass "a"
    end
    for i = 1, 3 do
      d:pass(i)
    end
    assert.same({ 1, 3 }, { d.dropped, d.dropped_held })
    world.pass(100)
    d:pass "x" -- the others are over, and no loss
    d:pass "y"
    assert.same({ 1, 3 }, { d.dropped, d.dropped_held })
  end)

  it("does not count as dropped what was over with nothing held back", function()
    local mw, world = fresh()
    local d, half = mw.dedup { span = 10 }, ("x"):rep(2 * 1024 * 1024)
    d:pass(half .. "")
    d:pass(half .. "")
    d:pass(half:sub(3))
    world.pass(10)
    d:pass(half .. half:sub(5)) -- needs the room of both
    assert.same({ 1, 1 }, { d.dropped, d.dropped_held })
  end)

  it("never loses a count: what came is what passed and what was told or counted", function()
    for seed = 1, 20 do
      local mw, world = fresh()
      local random = stand_in.random(seed)
      local d = mw.dedup { span = 5, max = 4 }
      local came, passed, told = 0, 0, 0
      for _ = 1, 2000 do
        world.pass(random(0, 2))
        came = came + 1
        local go, held = d:pass(random(1, 8))
        if go then
          passed, told = passed + 1, told + held
        end
        if random(1, 50) == 1 then
          for _, count in d:each_held() do
            told = told + count
          end
        end
        assert.is_true(d._keys.count <= 4)
      end
      for _, count in d:each_held(true) do
        told = told + count
      end
      assert.equal(came, passed + told + d.dropped_held)
      assert.equal(passed, d.passed)
      assert.equal(came - passed, d.held)
    end
  end)

  it("does not go silent when the clock is set back", function()
    local mw, world = fresh()
    local d = mw.dedup { span = 60 }
    d:pass "a"
    world.now = world.now - 3600
    assert.is_true(d:pass "a")
  end)

  it("says what is wrong at the line where it was written", function()
    local mw = fresh()
    assert.truthy(blames(function() mw.dedup "5m" end):find "mw.dedup takes a table of options")
    assert.truthy(blames(function() mw.throttle { per = 1 } end):find "`limit` is missing")
    assert.truthy(blames(function() mw.throttle { per = 1, limit = 1e6 } end):find "10,000 or less")
    assert.truthy(blames(function() mw.dedup({ span = 1 }):pass({}) end):find "a key must be")
  end)
end)

describe("throttle", function()
  it("lets at most so many of a key pass within any span", function()
    local mw, world = fresh()
    local t = mw.throttle { per = "1m", limit = 2 }
    assert.same({ true, 0 }, { t:pass "a" })
    world.pass(40)
    assert.same({ true, 0 }, { t:pass "a" })
    assert.same({ false, 1 }, { t:pass "a" })
    assert.same({ true, 0 }, { t:pass "b" })
    world.pass(20) -- the first is out of the span, the second is not
    assert.same({ true, 1 }, { t:pass "a" })
    assert.same({ false, 1 }, { t:pass "a" })
  end)

  it("is what a slow and obvious one is", function()
    for seed = 1, 20 do
      local mw, world = fresh()
      local random = stand_in.random(seed)
      local limit = random(1, 5)
      local t = mw.throttle { per = 10, limit = limit }
      local passes, held = {}, 0
      for _ = 1, 500 do
        world.pass(random(0, 4))
        local within = 0
        for _, time in ipairs(passes) do
          within = within + (world.now - time < 10 and 1 or 0)
        end
        local go, before = t:pass "k"
        assert.equal(within < limit, go)
        if go then
          assert.equal(held, before)
          passes[#passes + 1], held = world.now, 0
        else
          held = held + 1
          assert.equal(held, before)
        end
      end
    end
  end)
end)
