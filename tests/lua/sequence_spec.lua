-- mw.sequence: which events match, beside a slow and obvious search.
package.path = "tests/lua/?.lua;" .. package.path
local stand_in = require "stand_in"
local fresh, blames = stand_in.fresh, stand_in.blames

local function is(letter)
  return function(ev) return ev.is:find(letter, 1, true) ~= nil end
end

local function of(key)
  return function(ev) return ev[key] end
end

local function letters(events)
  local text = ""
  for _, ev in ipairs(events or {}) do
    text = text .. ev.is
  end
  return text
end

describe("a sequence", function()
  it("is this, then that, of the same key, within the span", function()
    local mw, world = fresh()
    local found = {}
    local s = mw.sequence {
      by = of "who",
      within = "5m",
      steps = { is "a", is "b", is "c" },
      matched = function(events, key) found[#found + 1] = key .. ":" .. letters(events) end,
    }
    for _, step in ipairs { "1a", "2a", "1b", "1x", "2c", "1c", "2b" } do
      world.pass(1)
      s:feed { who = step:sub(1, 1), is = step:sub(2) }
    end
    assert.same({ "1:abc" }, found)
    world.pass(300)
    s:feed { who = "2", is = "c" } -- too late
    assert.same({ "1:abc" }, found)
    assert.equal(1, s.matches)
  end)

  it("as in the documentation finds a download that is made executable and run", function()
    local mw, world = fresh()
    local alerts = {}
    local s = mw.sequence {
      by = function(ev) return ev.sid end,
      within = "5m",
      steps = {
        function(ev) return ev.comm == "curl" or ev.comm == "wget" end,
        function(ev) return ev.comm == "chmod" end,
        function(ev) return ev.exe:find "^/tmp/" ~= nil end,
      },
      matched = function(events, sid) alerts[#alerts + 1] = { sid, events[1].comm, events[3].exe } end,
    }
    s:feed { sid = 7, comm = "curl", exe = "/usr/bin/curl" }
    s:feed { sid = 8, comm = "chmod", exe = "/usr/bin/chmod" }
    s:feed { sid = 7, comm = "ls", exe = "/usr/bin/ls" }
    world.pass(60)
    s:feed { sid = 7, comm = "chmod", exe = "/usr/bin/chmod" }
    s:feed { sid = 8, comm = "x", exe = "/tmp/x" }
    s:feed { sid = 7, comm = "x", exe = "/tmp/x" }
    assert.same({ { 7, "curl", "/tmp/x" } }, alerts)
  end)

  it("goes on with the try that began last", function()
    local mw, world = fresh()
    local s = mw.sequence { by = of "who", within = 10, steps = { is "a", is "b" } }
    s:feed { who = 1, is = "a", n = 1 }
    world.pass(8)
    s:feed { who = 1, is = "a", n = 2 }
    world.pass(8) -- the first is too old by now
    assert.equal(2, s:feed({ who = 1, is = "b" })[1].n)
    assert.is_nil(s:feed { who = 1, is = "b" }) -- begins anew
  end)

  it("uses an event for one step only", function()
    local mw = fresh()
    local s = mw.sequence { by = of "who", within = 10, steps = { is "a", is "a", is "a" } }
    assert.is_nil(s:feed { who = 1, is = "a" })
    assert.is_nil(s:feed { who = 1, is = "a" })
    assert.equal("aaa", letters(s:feed { who = 1, is = "a" }))
    assert.is_nil(s:feed { who = 1, is = "a" })
  end)

  it("matches at the same events as a search through all that came", function()
    local alphabet = { "a", "b", "c", "ab", "bc", "ac", "abc", "x" }
    local matches = 0
    for seed = 1, 60 do
      local mw, world = fresh()
      local random = stand_in.random(seed)
      local steps = ({ { "a", "b" }, { "a", "b", "c" }, { "a", "b", "a", "c" } })[random(1, 3)]
      local tests = {}
      for i, letter in ipairs(steps) do
        tests[i] = is(letter)
      end
      local s = mw.sequence { by = of "who", within = 10, steps = tests }
      local past = { {}, {} }

      -- Is there a chain of earlier events for the steps up to `step`, the last before `before`?
      local function chain(events, step, before, since)
        if step == 0 then
          return true
        end
        for i = before - 1, 1, -1 do
          if events[i].time >= since and tests[step](events[i]) and chain(events, step - 1, i, since) then
            return true
          end
        end
        return false
      end

      for _ = 1, 80 do
        world.pass(random(0, 5))
        local ev = { who = random(1, 2), is = alphabet[random(1, #alphabet)], time = world.now }
        local events = past[ev.who]
        events[#events + 1] = ev
        local wanted = tests[#tests](ev) and chain(events, #tests - 1, #events, world.now - 10)
        local got = s:feed(ev)
        assert.equal(wanted, got ~= nil, ("seed %d"):format(seed))
        if got then
          matches = matches + 1
          past[ev.who] = {}
          assert.equal(#tests, #got)
          for i, one in ipairs(got) do
            assert.is_true(tests[i](one) and one.who == ev.who and world.now - one.time <= 10)
          end
        end
      end
    end
    assert.is_true(matches > 300, "too few to mean something: " .. matches)
  end)

  it("of too many keys drops the one that began longest ago, and says so", function()
    local mw, world = fresh()
    local s = mw.sequence { by = of "who", within = 10, max = 3, steps = { is "a", is "b" } }
    for who = 1, 5 do
      s:feed { who = who, is = "a" }
    end
    assert.equal(2, s.dropped)
    assert.is_nil(s:feed { who = 2, is = "b" })
    assert.equal("ab", letters(s:feed { who = 3, is = "b" }))
    world.pass(11)
    for who = 11, 14 do
      s:feed { who = who, is = "a" } -- the first makes room by the way: those before are over
    end
    assert.equal(3, s.dropped)
  end)

  it("keeps no more than it must", function()
    local mw, world = fresh()
    local s = mw.sequence { by = of "who", within = 10, max = 5, steps = { is "a", is "b", is "c" } }
    local random = stand_in.random(3)
    for _ = 1, 5000 do
      world.pass(random(0, 1))
      s:feed { who = random(1, 50), is = ({ "a", "b", "c" })[random(1, 3)] }
      assert.is_true(s._keys.count <= 5)
    end
    for slot = 1, s._keys.top do
      for step, try in pairs(s._tries[slot] or {}) do
        assert.is_true(step <= 2 and (not try or #try <= 2))
      end
    end
  end)

  it("leaves out what has no key, forgets when told, and survives a clock that is set back", function()
    local mw, world = fresh()
    local s = mw.sequence { by = of "who", within = 10, steps = { is "a", is "b" } }
    assert.is_nil(s:feed { is = "a" })
    assert.equal(1, s.unkeyed)
    s:feed { who = 1, is = "a" }
    s:forget(1)
    s:forget(2)
    assert.is_nil(s:feed { who = 1, is = "b" })
    s:feed { who = 1, is = "a" }
    world.now = world.now - 3600
    assert.is_nil(s:feed { who = 1, is = "b" })
    s:feed { who = 1, is = "a" }
    assert.is_table(s:feed { who = 1, is = "b" })
  end)

  it("says what is wrong at the line where it was written", function()
    local mw = fresh()
    local two = { is "a", is "b" }
    assert.truthy(blames(function() mw.sequence { within = 1, steps = two } end):find "`by` is missing")
    assert.truthy(blames(function() mw.sequence { by = two[1], within = 1, steps = { two[1] } } end):find "2 to 32")
    local odd = { by = two[1], within = 1, steps = { 1 } }
    assert.truthy(blames(function() mw.sequence(odd) end):find "a list of functions")
    assert.truthy(blames(function() mw.sequence { by = of "x", steps = two } end):find "`within` is missing")
    local s = mw.sequence { by = of "who", within = 1, steps = two }
    assert.truthy(blames(function() s:feed { who = {} } end):find "must return a string")
  end)
end)
