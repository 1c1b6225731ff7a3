-- mw.list: when it asks, what it keeps, and what it says about a file that cannot be had.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local blames = stand_in.blames

local function fresh()
  local mw, world = stand_in.fresh()
  world.asked = 0
  function world.core._values(name, max, hash)
    world.asked = world.asked + 1
    assert.equal("bad.txt", name)
    if not world.lines then
      return nil, world.reason or "no such file"
    end
    if hash == world.hash then
      return nil, "unchanged"
    end
    local set, values = {}, {}
    for i = 1, math.min(max, #world.lines) do
      values[i], set[world.lines[i]] = world.lines[i], true
    end
    return values, set, #values, #world.lines - #values, world.hash
  end
  function world.write(lines)
    world.lines, world.hash = lines, (world.hash or 0) + 1
  end
  return mw, world
end

describe("a list", function()
  it("as in the documentation has what its file has, as long as it has it", function()
    local mw, world = fresh()
    world.write { "evil", "10.0.0.1" }
    local l = mw.list "bad.txt"
    assert.is_true(l:has "evil")
    assert.is_false(l:has "good")
    assert.is_false(l:has(nil))
    assert.equal(2, #l:values())
    world.write { "good" }
    assert.is_true(l:has "evil")
    world.pass(2)
    assert.is_false(l:has "evil")
    assert.is_true(l:has "good")
  end)

  it("hands out its values, not itself", function()
    local mw, world = fresh()
    world.write { "a" }
    local l = mw.list "bad.txt"
    l:values()[1] = "b"
    assert.same({ "a" }, l:values())
    assert.equal("mw.list", getmetatable(l))
  end)

  it("asks every two seconds, or as often as it is told", function()
    local mw, world = fresh()
    world.write { "a" }
    mw.list "bad.txt"
    world.pass(10)
    assert.equal(6, world.asked)
    mw.list { file = "bad.txt", every = "1m" }
    world.pass(60)
    assert.equal(6 + 1 + 30 + 1, world.asked)
  end)

  it("stays as it was while its file is gone, says so once, and goes on when it is back", function()
    local mw, world = fresh()
    local changes = 0
    world.write { "a" }
    local l = mw.list { file = "bad.txt", changed = function() changes = changes + 1 end }
    world.lines = nil
    world.pass(60)
    assert.is_true(l:has "a")
    assert.equal("no such file", l.problem)
    assert.same({ "list 'bad.txt' stays as it was: no such file" }, world.logged)
    assert.equal(31, world.asked)
    world.write { "b" }
    world.pass(2)
    assert.is_true(l:has "b")
    assert.is_nil(l.problem)
    assert.equal(1, changes)
  end)

  it("that may not be read is asked for less often: each time is a line to the operator", function()
    local mw, world = fresh()
    world.write { "a" }
    local l = mw.list "bad.txt"
    world.lines, world.reason = nil, "not taken"
    world.pass(61)
    assert.equal("not taken", l.problem)
    assert.equal(1 + 2, world.asked)
    world.write { "b" }
    world.pass(30)
    assert.is_true(l:has "b")
  end)

  it("must be there at the beginning, unless it is optional", function()
    local mw, world = fresh()
    assert.truthy(blames(function() mw.list "bad.txt" end):find "mw.list: 'bad.txt': no such file")
    local l = mw.list { file = "bad.txt", optional = true }
    assert.is_false(l:has "a")
    assert.same({}, world.logged)
    world.write { "a" }
    world.pass(2)
    assert.is_true(l:has "a")
  end)

  it("says what is wrong at the line where it was written", function()
    local mw = fresh()
    assert.truthy(blames(function() mw.list() end):find "takes a table of options")
    assert.truthy(blames(function() mw.list("a", {}) end):find "mw.list takes a name, or a table")
    assert.truthy(blames(function() mw.list { file = "a", match = "globs" } end):find "`match` must be contains")
    assert.truthy(blames(function() mw.list { file = "a", cased = 1 } end):find "`cased` must be true or false")
  end)
end)
