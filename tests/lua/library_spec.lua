-- The Lua half of the library, with a stand-in for what C gives it.
local told, subscribed, needed, now

local function fresh()
  told, subscribed, needed, now = {}, nil, nil, 1000
  local methods = {}
  debug.getregistry().moonwatch = {
    _methods = methods,
    _aliases = { ["process.name"] = "comm", Image = "exe", ["proc.name"] = "comm", comm = "comm",
      ["moonwatch.was.uid"] = "was.uid", ["process.executable"] = "exe" },
    _fields = { pid = true, comm = true, cmdline = true, uid = true, exe = true, code = true, type = true,
      duration = true, children = true },
    where = function(tests) return tests end,
    _subscribe = function(name, on, threads) subscribed = { name = name, on = on, threads = threads } end,
    _needs = function(fields) needed = fields end,
    _owner = function() return 2 end,
    _need_all = function() needed = "all" end,
    _verdict = function() end,
    _alert = function(severity, text, event, tags, key, held)
      told[#told + 1] = { severity = severity, text = text, event = event, tags = tags, key = key, held = held }
    end,
    _undecided = function() told.undecided = (told.undecided or 0) + 1 end,
    log = function(text) told.logged = text end,
    emit = function(ev) told[#told + 1] = ev end,
    now = function() return now end,
    pids = function() return { 1, 2, 3 } end,
    proc = function(pid) return pid ~= 2 and { pid = pid } or nil end,
  }
  package.loaded.moonwatch, package.loaded["moonwatch.oneliner"], package.loaded["moonwatch.options"] = nil, nil, nil
  local mw = require "moonwatch"
  return mw, methods, require "moonwatch.oneliner"
end

package.path = "lua/?.lua;lua/?/init.lua;" .. package.path

local function process(methods, fields)
  return setmetatable(fields, { __index = methods })
end

describe("spans of time", function()
  local mw = fresh()
  it("are seconds", function()
    for text, seconds in pairs { ["90s"] = 90, ["5m"] = 300, ["1.5h"] = 5400, ["250ms"] = 0.25, ["2d"] = 172800 } do
      assert.equal(seconds, mw.seconds(text))
    end
    assert.equal(7, mw.seconds(7))
  end)
  it("that mean nothing are refused", function()
    for _, text in ipairs { "", "5", "m", "5 parsecs", "-5m" } do
      assert.has_error(function() mw.seconds(text) end)
    end
  end)
end)

describe("alerts", function()
  it("that are equal are held back, and the next one says how many", function()
    local mw = fresh()
    for _ = 1, 3 do
      mw.alert { key = "a", dedup = "10s" }
    end
    mw.alert { key = "b", dedup = "10s" }
    now = now + 10
    mw.alert { key = "a", dedup = "10s" }
    assert.equal(3, #told)
    assert.same({ 0, 0, 2 }, { told[1].held, told[2].held, told[3].held })
  end)
  it("that were held back are no secret when no equal one comes", function()
    local mw = fresh()
    for _ = 1, 3 do
      mw.alert { key = "a", dedup = "10s" }
    end
    assert.is_nil(mw.held()())
    assert.same({ "a", 2 }, { mw.held(true)() })
    for i = 1, 10001 do
      mw.alert { key = "a", dedup = "10m" }
      mw.alert { key = i, dedup = "10m" }
    end
    assert.is_nil(told.logged)
    for i = 1, 10001 do
      mw.alert { key = -i, dedup = "10m" }
    end
    assert.truthy(told.logged:find "^10001 alerts in all were held back and are forgotten")
  end)
  it("without dedup are all told", function()
    local mw = fresh()
    mw.alert { key = "a" }
    mw.alert { key = "a" }
    assert.equal(2, #told)
  end)
  it("have one of four severities", function()
    local mw = fresh()
    assert.has_error(function() mw.alert { severity = "huge" } end)
    assert.has_error(function() mw.alert "text" end)
  end)
end)

describe("scripts", function()
  it("need a name and a table of events", function()
    local mw = fresh()
    assert.has_error(function() mw.script "x" end)
    assert.has_error(function() mw.script {} end)
    assert.has_error(function() mw.script { name = "x", on = 1 } end)
    mw.script { name = "x", on = {}, threads = true }
    assert.is_true(subscribed.threads)
    assert.is_nil(needed)
  end)
  it("and alerts take no key that nobody knows", function()
    local mw = fresh()
    local function blamed(f)
      local _, message = pcall(f)
      assert.truthy(message:find "library_spec.lua:%d+: ", message)
      return message:gsub("^.-:%d+: ", "")
    end
    assert.equal("mw.script: no option is named 'thread': did you mean threads?",
      (blamed(function() mw.script { name = "x", thread = true } end)))
    assert.equal("mw.alert: no option is named 'severty': did you mean severity?",
      (blamed(function() mw.alert { severty = "high" } end)))
    assert.equal("mw.alert: no option is named 'x'; there are dedup, dump, event, key, rule, severity, sink, tags, "
      .. "text", (blamed(function() mw.alert { x = 1 } end)))
    assert.equal(0, #told)
    mw.script { name = "x", description = "what it is for", author = "me", references = { "https://example.org" } }
  end)
  it("subscribe to events that there are, by fields that there are", function()
    local mw = fresh()
    local function blamed(f)
      local _, message = pcall(f)
      assert.truthy(message:find "library_spec.lua:%d+: ", message)
      return (message:gsub("^.-:%d+: ", ""))
    end
    assert.equal("on.exce: no event is named so: did you mean exec?",
      blamed(function() mw.script { name = "x", on = { exce = print } } end))
    assert.truthy(blamed(function() mw.script { name = "x", on = { print } } end):find "^on.1: .*; there are fork exec")
    assert.equal("mw.where: no field is named 'com': did you mean comm?", blamed(function() mw.where { com = "x" } end))
    assert.truthy(blamed(function() mw.where { xyzzy = 1 } end):find "'xyzzy'; `moonwatch fields` lists them")
    assert.same({ comm = "x" }, mw.where { comm = "x" })
    debug.getregistry().moonwatch._subscribe = function() error("on.exec must be a function", 0) end
    assert.equal("on.exec must be a function", blamed(function() mw.script { name = "x", on = { exec = 1 } } end))
  end)
  it("say which fields they need besides those that they mention", function()
    local mw = fresh()
    mw.script { name = "x", needs = { "cwd" } }
    assert.same({ "cwd" }, needed)
  end)
end)

describe("ancestors", function()
  it("are found by value, by list and by function", function()
    local _, methods = fresh()
    local init = process(methods, { comm = "init" })
    local shell = process(methods, { comm = "bash", uid = 0, parent = init })
    local ev = process(methods, { comm = "ls", parent = shell })
    assert.equal(shell, ev:ancestor { comm = "bash" })
    assert.equal(init, ev:ancestor { comm = { "systemd", "init" } })
    assert.equal(shell, ev:ancestor(function(p) return p.uid == 0 end))
    assert.is_nil(ev:ancestor { comm = "ls" })
    assert.is_nil(ev:ancestor { comm = "bash", uid = 1 })
  end)
  it("answer under the names of other schemas", function()
    local _, methods = fresh()
    local parent = process(methods, { comm = "bash", exe = "/bin/bash" })
    local ev = process(methods, { comm = "ls", parent = parent, was = { uid = 7 } })
    assert.equal("ls", ev:get "process.name")
    assert.equal("/bin/bash", ev:get "ParentImage")
    assert.equal("bash", ev:get "process.parent.name")
    assert.equal("bash", ev:get "proc.pname")
    assert.equal(7, ev:get "moonwatch.was.uid")
    assert.has_error(function() ev:get "no.such.name" end)
  end)
end)

describe("matchers", function()
  it("carry their values", function()
    local mw = fresh()
    assert.same({ op = "prefix", "/tmp/", "/var/" }, mw.prefix("/tmp/", "/var/"))
    assert.same({ op = "suffix", "x" }, mw.suffix { "x" })
    assert.same({ op = "contains", negated = true, "a" }, mw.none(mw.contains "a"))
  end)
  it("sets and processes are walked", function()
    local mw = fresh()
    assert.is_true(mw.set({ "a" }).a)
    local pids = {}
    for p in mw.processes() do
      pids[#pids + 1] = p.pid
    end
    assert.same({ 1, 3 }, pids)
  end)
end)

describe("pairs", function()
  it("of an event that lacks what nobody needed needs all of it", function()
    fresh()
    local walk = dofile "lua/moonwatch/pairs.lua"
    local function keys(t)
      local n = 0
      for _ in walk(t) do
        n = n + 1
      end
      return n
    end
    assert.equal(2, keys { a = 1, b = 2 })
    assert.equal(1, keys(setmetatable({ a = 1 }, { __index = { unasked = true } })))
    assert.equal(0, keys(setmetatable({}, { __metatable = 7 })))
    assert.is_nil(needed)
    assert.equal(1, keys(setmetatable({ a = 1 }, { unasked = true })))
    assert.equal("all", needed)
  end)
  it("of something else is an error as ever", function()
    fresh()
    local walk = dofile "lua/moonwatch/pairs.lua"
    assert.has_error(function() walk(nil) end)
    assert.has_error(function() walk(7) end)
  end)
end)

describe("a one-liner", function()
  local function line(text)
    local _, _, oneliner = fresh()
    local env = {}
    for name, value in pairs(_G) do
      env[name] = value
    end
    env.io = nil
    oneliner("-e", text, env)
    return subscribed.on
  end
  it("names its events", function()
    local on = line "exec, exit: uid == 0"
    assert.is_function(on.exec)
    assert.is_function(on.exit)
    assert.is_nil(on.any)
  end)
  it("may be about storms", function()
    assert.is_function(line("storm: children > 9").storm)
  end)
  it("selects, and tells when it has no action", function()
    local on = line 'exec: comm == "curl"'
    on.exec { comm = "wget" }
    on.exec { comm = "curl" }
    assert.equal(1, #told)
    assert.equal("curl", told[1].comm)
  end)
  it("without an action needs whole events", function()
    line 'exec: comm == "curl"'
    assert.equal("all", needed)
    line 'exec: comm == "curl" => print(pid)'
    assert.is_nil(needed)
  end)
  it("without an event is about any", function()
    assert.is_function(line("uid == 0 or uid").any)
    assert.is_function(line("uid and comm == 'x'").any)
    assert.is_function(line("comm").any)
    assert.is_function(line('comm:find("x")').any)
    assert.is_function(line("=> local x = pid").any)
  end)
  it("finds its action behind strings that look like one", function()
    local on = line 'exec: comm == "=>" => seen = pid'
    on.exec { comm = "=>", pid = 5 }
    assert.equal(0, #told)
    on = line "exec: comm == [[a => b]]"
    on.exec { comm = "a => b" }
    assert.equal(1, #told)
  end)
  it("takes a field of another table for what it is", function()
    local on = line 'exec: ("abc").comm == nil and comm == "x"'
    on.exec { comm = "x" }
    assert.equal(1, #told)
  end)
  it("that lacks a value is undecided, and other errors are errors", function()
    local on = line 'exec: cmdline:find("x")'
    on.exec {}
    assert.equal(1, told.undecided)
    on = line 'exec: comm:nonsense()'
    assert.has_error(function() on.exec { comm = "x" } end)
  end)
  it("has no name that is no field and that nothing gives a value", function()
    for text, wanted in pairs { ['exec: com == "true"'] = "-e: no event has 'com': did you mean comm?",
      ["exit: durtion > 1"] = "no event has 'durtion': did you mean duration?",
      ["exec: => prnt(pid)"] = "did you mean print?",
      ["exec: xyzzy"] = "no event has 'xyzzy'", ["exec: => local a = { b = zzyzx }"] = "no event has 'zzyzx'",
      ["exec: pid == 1 and parnt.pid"] = "did you mean parent?" } do
      local ok, message = pcall(line, text)
      assert.is_false(ok, text)
      assert.is_truthy(message:find(wanted, 1, true), message)
    end
    for _, text in ipairs { "exec: => out = out or {} out[pid] = comm", "exec: (n or 0) < 5 => n = (n or 0) + 1",
      "exec: => for i, v in ipairs(ev.args) do print(i, v) end", "exec: => local function f(x) return x end f(pid)",
      "exec: => function g(...) return ... end g(1)", "exec: => io.open 'x'",
      "exec: => print(({ nothing = 1 }).nothing, ev.whatever, mw.now())",
      "exec: parent and parent.comm == 'sh' and was == nil",
      "exec: type == 'exec' => print(_G, tostring(uid)) -- words",
      "exec: 'com' == comm => goto done ::done::" } do
      assert.has_no_error(function() line(text) end)
    end
  end)
  it("is refused with what is wrong", function()
    for text, wanted in pairs { ["exec: comm =="] = "condition is not Lua: it ends too early",
      ['exec: comm = "true"'] = "near '='; == compares", ["exec: (pid == 1"] = "ends too early",
      ["exec: pid == 1 end"] = "'<eof>' expected near 'end'", ["exec: => if pid then print(pid)"] = "ends too early",
      ['exec comm == "x"'] = "a ':' is missing behind the event: 'exec: ", ["exec"] = "':' is missing",
      ["exec => print(pid)"] = "':' is missing", ["uid uid == 0"] = "':' is missing behind the event: 'uid: ",
      ["exec, exit => print(pid)"] = "':' is missing",
      ["exec: => ("] = "action is not Lua",
      ["exce: pid"] = "'exce' is no event: did you mean exec?", ["x: pid"] = "is no event; there are fork exec" } do
      local ok, message = pcall(line, text)
      assert.is_false(ok)
      assert.is_truthy(message:find(wanted, 1, true), message)
    end
  end)
end)
