-- p:watch: what it adds up, what it leaves out, and when it ends.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local blames = stand_in.blames

-- Processes whose figures a test sets: used (processor time so far), rss, threads, sockets.
local function fresh()
  local mw, world = stand_in.fresh()
  function world.methods:stat()
    if world.living[self.pid] ~= self then
      return nil, "gone"
    end
    if self.refuses then
      return nil, self.refuses
    end
    return { utime = self.used / 2, stime = self.used / 2, rss = self.rss, threads = self.threads }
  end
  function world.methods:sockets()
    world.now = world.now + (self.takes or 0)
    local list = {}
    for _, inode in ipairs(self.inodes or {}) do
      list[#list + 1] = { inode = inode, remote_ip = "10.0.0." .. inode }
    end
    return list
  end
  function world.core._kin(root, most)
    local kin, count = {}, 0
    for _, pid in ipairs(world.core.pids()) do
      local process = world.living[pid]
      local above = process
      while above and above.id ~= root.id do
        above = above.parent
      end
      if above then
        count = count + 1
        if count <= most then
          kin[count] = process
        end
      end
    end
    return kin, count
  end
  function world.spawn(pid, parent, fields)
    local process = world.fork(pid, parent, fields)
    process.used, process.rss, process.threads = process.used or 0, process.rss or 100, process.threads or 1
    return process
  end
  return mw, world
end

describe("a watch", function()
  it("adds up a process and its descendants", function()
    local _, world = fresh()
    local init = world.spawn(1)
    local p = world.spawn(10, init, { used = 5 })
    local samples, why = {}, nil
    p:watch {
      every = 1,
      for_ = 3,
      sample = function(of, figures)
        assert.equal(p, of)
        samples[#samples + 1] = figures
      end,
      done = function(_, reason) why = reason end,
    }
    world.pass(0.5)
    p.used, p.inodes = 5.25, { 7 }
    local child = world.spawn(11, p, { used = 0.25, rss = 50, threads = 3, inodes = { 7, 8 } })
    world.pass(0.5)
    p.used, child.used = 6, 0.5
    world.pass(1)
    world.exit(p)
    world.pass(1)
    assert.equal(3, #samples)
    assert.same({ 0.5, 150, 4, 2, 3, 2 }, { samples[1].cpu, samples[1].rss, samples[1].threads, samples[1].processes,
      #samples[1].sockets, #samples[1].new_sockets })
    assert.same({ 1, 0 }, { samples[2].cpu, #samples[2].new_sockets })
    assert.same({ 0, 50, 1 }, { samples[3].cpu, samples[3].rss, samples[3].processes })
    assert.equal("over", why)
  end)

  it("as in the documentation finds who is busy and talks", function()
    local mw, world = fresh()
    local p = world.spawn(10)
    p:watch {
      every = "2s",
      for_ = "1m",
      sample = function(of, figures)
        if figures.cpu > 0.9 and #figures.new_sockets > 0 then
          mw.alert { severity = "high", key = of.id, dedup = "1h", event = of, text = "busy, and talks" }
        end
      end,
    }
    world.pass(2)
    p.used, p.inodes = 1.95, { 5 }
    assert.equal(0, #world.told)
    world.pass(2)
    assert.equal(1, #world.told)
    assert.equal(p, world.told[1].event)
  end)

  it("ends when nobody lives any more, when it is over, and when it is told", function()
    local _, world = fresh()
    local function ends(act, seconds)
      local why, samples = nil, 0
      local p = world.spawn(10)
      local w = p:watch {
        every = 1,
        for_ = 5,
        sample = function() samples = samples + 1 end,
        done = function(_, reason) why = reason end,
      }
      act(p, w)
      world.pass(seconds)
      assert.is_false(w:running())
      world.pass(100)
      return why, samples
    end
    assert.same({ "gone", 0 }, { ends(function(p) world.exit(p) end, 1) })
    assert.same({ "over", 5 }, { ends(function() end, 5) })
    assert.same({ "cancelled", 0 }, { ends(function(_, w)
      w:cancel()
      w:cancel()
    end, 0) })
    local from_within
    ends(function(_, w) from_within = w w._sample = function() w:cancel() end end, 2)
    assert.is_false(from_within:running())
  end)

  it("looks at 64 processes at most and a quarter of a second long, and says what it left out", function()
    local _, world = fresh()
    local root, last = world.spawn(1), nil
    for pid = 2, 100 do
      world.spawn(pid, root)
    end
    root:watch { sample = function(_, figures) last = figures end }
    world.pass(1)
    assert.same({ 100, 36, 64 }, { last.processes, last.left_out, last.threads })
    for pid = 1, 100 do
      world.living[pid].takes = 0.1
    end
    world.pass(1)
    assert.same({ 100, 97, 3 }, { last.processes, last.left_out, last.threads })
    local plain = world.spawn(200, nil, { takes = 1000, inodes = { 1 } })
    plain:watch { sockets = false, for_ = 2, sample = function(_, figures) last = figures end }
    world.pass(1)
    assert.equal(0, #last.sockets)
  end)

  it("does not take for new work what it did not look at before", function()
    local _, world = fresh()
    local root, last = world.spawn(1), nil
    for pid = 2, 70 do
      world.spawn(pid, root, { used = 1000 })
    end
    root:watch { sample = function(_, figures) last = figures end }
    world.pass(1)
    for pid = 2, 60 do
      world.exit(world.living[pid])
    end
    world.pass(1)
    assert.same({ 11, 0, 0 }, { last.processes, last.left_out, last.cpu })
  end)

  it("of a script is one for each process, and 32 at most", function()
    local _, world = fresh()
    local watches = {}
    for pid = 1, 32 do
      watches[pid] = world.spawn(pid):watch {}
      assert.is_table(watches[pid])
    end
    assert.same({ nil, "watched already" }, { world.living[1]:watch {} })
    assert.same({ nil, "32 watches run already" }, { world.spawn(33):watch {} })
    watches[1]:cancel()
    assert.is_table(world.living[33]:watch {})
    world.owner = 4
    assert.is_table(world.living[2]:watch {})
  end)

  it("of a version that is gone is in nobody's way", function()
    local _, world = fresh()
    local p = world.spawn(1)
    p:watch {}
    world.timers = {} -- as after a reload
    world.pass(14)
    assert.is_table(p:watch {})
  end)

  it("says why something cannot be read", function()
    local _, world = fresh()
    local p = world.spawn(1, nil, { refuses = "permission denied" })
    local w = p:watch {}
    world.pass(1)
    assert.equal("permission denied", w.problem)
    assert.equal(1, w.samples)
  end)

  it("says what is wrong at the line where it was written", function()
    local _, world = fresh()
    local p = world.spawn(1)
    assert.truthy(blames(function() p:watch() end):find "p:watch takes a table of options")
    assert.truthy(blames(function() p:watch { every = 0.01 } end):find "100 ms or more")
    assert.truthy(blames(function() p:watch { sockets = "no" } end):find "`sockets` must be true or false")
    assert.truthy(blames(function() p.watch({}, {}) end):find "belongs to an event")
    local nobody = setmetatable({ pid = 5 }, { __index = world.methods })
    assert.same({ nil, "its start is not known" }, { nobody:watch {} })
  end)
end)
