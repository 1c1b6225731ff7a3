-- mw.label, mw.labels, mw.labelled: who has a label, beside a model that gives it on at each fork.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local fresh, blames = stand_in.fresh, stand_in.blames

describe("a label", function()
  it("goes on to what is forked after it was set, and to nobody else", function()
    local mw, world = fresh()
    local init = world.fork(1)
    local sshd = world.fork(2, init)
    world.pass(1)
    local before = world.fork(3, sshd)
    world.pass(1)
    assert.is_true(mw.label(sshd, "login"))
    world.pass(1)
    local after = world.fork(4, sshd)
    local of_before = world.fork(5, before)
    world.exit(after)
    world.pass(1)
    local deeper = world.fork(6, world.fork(7, after))
    for process, wanted in pairs { [init] = false, [sshd] = true, [before] = false, [after] = true,
      [of_before] = false, [deeper] = true } do
      assert.equal(wanted, mw.labelled(process, "login"), process.pid)
    end
    assert.is_false(mw.labelled(sshd, "other"))
    mw.label(deeper, "own")
    assert.same({ login = true, own = true }, mw.labels(deeper))
    assert.is_true(mw.labelled(world.fork(8, deeper), "own")) -- at the same instant
    assert.same({}, mw.labels(before))
  end)

  it("as in the documentation follows what a web server starts", function()
    local mw, world = fresh()
    local told = {}
    local function exec(ev)
      if ev.comm == "nginx" then
        mw.label(ev, "web")
      elseif ev.comm == "sh" and mw.labelled(ev, "web") then
        told[#told + 1] = ev.pid
      end
    end
    local nginx = world.fork(10, world.fork(1), { comm = "nginx" })
    exec(nginx)
    world.pass(1)
    exec(world.fork(11, world.fork(12, nginx, { comm = "helper" }), { comm = "sh" }))
    exec(world.fork(13, world.living[1], { comm = "sh" }))
    assert.same({ 11 }, told)
  end)

  it("that is set again counts from the first time", function()
    local mw, world = fresh()
    local parent = world.fork(1)
    mw.label(parent, "x")
    world.pass(1)
    local child = world.fork(2, parent)
    world.pass(1)
    mw.label(parent, "x")
    assert.is_true(mw.labelled(child, "x"))
  end)

  it("does not go on to another process that has the pid by now", function()
    local mw, world = fresh()
    local init = world.fork(1)
    local first = world.fork(2, init)
    mw.label(first, "x")
    world.exit(first)
    world.pass(1)
    assert.is_false(mw.labelled(world.fork(2, init), "x"))
    assert.is_true(mw.labelled(first, "x"))
  end)

  it("goes on when the start is known by /proc's ticks only", function()
    local mw, world = fresh()
    local parent = world.fork(1, nil)
    world.now = 2000.006
    mw.label(parent, "x")
    local child = world.fork(2, parent, { start = 2000.00, known = "proc" })
    local earlier = world.fork(3, parent, { start = 1999.99, known = "proc" })
    local exact = world.fork(4, parent, { start = 2000.00 })
    assert.same({ true, false, false }, { mw.labelled(child, "x"), mw.labelled(earlier, "x"), mw.labelled(exact, "x") })
  end)

  it("cannot be given to what cannot be told apart", function()
    local mw, world = fresh()
    local nobody = setmetatable({ pid = 5 }, { __index = world.methods })
    assert.same({ nil, "its start is not known" }, { mw.label(nobody, "x") })
    assert.is_false(mw.labelled(nobody, "x"))
    assert.same({}, mw.labels(nobody))
    assert.truthy(blames(function() mw.label("x", "y") end):find "an event or a process expected")
    assert.truthy(blames(function() mw.label(nobody, 5) end):find "a name is a string")
    local many = world.fork(6)
    for i = 1, 64 do
      assert.is_true(mw.label(many, "n" .. i))
    end
    assert.same({ nil, "it has 64 labels" }, { mw.label(many, "one more") })
  end)

  it("is a script's own", function()
    local mw, world = fresh()
    local process = world.fork(1)
    mw.label(process, "x")
    world.owner = 5
    assert.is_false(mw.labelled(process, "x"))
    world.owner = 2
    assert.is_true(mw.labelled(process, "x"))
  end)

  it("goes with the process and its last descendant", function()
    local mw, world = fresh()
    local labels = require "moonwatch.labels"
    local init = world.fork(1)
    local father = world.fork(2, init)
    mw.label(father, "x")
    world.pass(1)
    local son, last = world.fork(3, father), nil
    world.exit(father)
    for pid = 10, 2000 do
      world.pass(0.01)
      local process = world.fork(pid, init)
      if last then
        world.exit(last)
      end
      mw.label(process, "y")
      assert.is_true(not last or mw.labelled(last, "y")) -- as in its own exit
      last = process
    end
    assert.is_true(labels._count() < 300, labels._count())
    assert.is_true(mw.labelled(world.fork(4, son), "x"))
    assert.equal(0, labels.dropped())
  end)

  it("is of 10,000 processes at most, and what was dropped is counted", function()
    local mw, world = fresh()
    local labels = require "moonwatch.labels"
    for pid = 1, 10100 do
      mw.label(world.fork(pid), "x")
    end
    assert.equal(10000, labels._count())
    assert.equal(100, labels.dropped())
    assert.is_false(mw.labelled(world.living[1], "x"))
    assert.is_true(mw.labelled(world.living[10100], "x"))
  end)

  it("is with whom a model says that forks, sets and asks at random", function()
    for seed = 1, 40 do
      local mw, world = fresh()
      local random = stand_in.random(seed)
      local all, model = { world.fork(1) }, {}
      model[all[1]] = {}
      for step = 1, 300 do
        world.pass(1)
        local process, what = all[random(1, #all)], random(1, 10)
        if what <= 4 and world.living[process.pid] then
          local child = world.fork(step + 1, process)
          all[#all + 1], model[child] = child, {}
          for name in pairs(model[process]) do
            model[child][name] = true
          end
        elseif what <= 6 and world.living[process.pid] then
          local name = "l" .. random(1, 3)
          mw.label(process, name)
          model[process][name] = true
        elseif what == 7 then
          world.exit(process)
        else
          assert.same(model[process], mw.labels(process))
          for i = 1, 3 do
            assert.equal(model[process]["l" .. i] == true, mw.labelled(process, "l" .. i))
          end
        end
      end
    end
  end)
end)
