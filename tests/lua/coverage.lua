-- How many of a public collection's 398 attacks on Linux make at least one policy of scripts/ tell of them:
--
--   luajit tests/lua/coverage.lua          the figures
--   luajit tests/lua/coverage.lua -v       also what is missed, by technique, and what each policy sees
--
-- Their command lines become made-up events; nothing runs. `passed`: the whole text goes to a shell by -c, as a
-- service, a web shell or the collection's own runner does it, and its programs start below that. `typed`: the
-- programs alone, as when somebody types into a shell, whose built-in commands and redirections nobody sees.
-- It says what is seen at all: not how well it is told from harmless work.
package.path = "tests/lua/?.lua;" .. package.path
local script_host = require "script_host"

local coverage = {}

-- To be read, or about what is new: these tell of anything.
local no_policies = { ["who-ran-what"] = true, ["build-cost"] = true, ["slow-commands"] = true, ["first-seen"] = true }

local builtins = {}
for name in ([[echo cd export unset set history trap eval read test [ [[ exit printf alias . source type command
  true false : pwd for case esac fi done wait jobs return local shift umask ulimit let declare function in { }
  ]]):gmatch "%S+" do
  builtins[name] = true
end

local function policies()
  local hosts = {}
  local list = io.popen "ls scripts/*.lua"
  for path in list:lines() do
    local name = path:match "([^/]+)%.lua$"
    if not no_policies[name] then
      local host = script_host.new()
      local command = require "moonwatch.command" -- the library that this host has loaded last
      hosts[#hosts + 1] = { name = name, host = host:load(path), command = command }
    end
  end
  list:close()
  return hosts
end

---The attacks: { technique, test, executor, lines... }, in order.
function coverage.attacks()
  local list, by_test = {}, {}
  local file = assert(io.open "tests/fixtures/atomics/commands.tsv")
  file:read "*l"
  for line in file:lines() do
    local technique, test, executor, text = line:match "^(%S+)\t(%S+)\t(%S*)\t(.*)$"
    local attack = by_test[test]
    if not attack then
      attack = { technique = technique, test = test, executor = executor }
      by_test[test], list[#list + 1] = attack, attack
    end
    attack[#attack + 1] = text
  end
  file:close()
  return list
end

local function expanded(words)
  local result = {}
  for i, word in ipairs(words) do
    result[i] = word:gsub("^~", "/root"):gsub("%$HOME", "/root"):gsub("%${HOME}", "/root")
  end
  return result
end

local function start(host, parent, words, sid)
  local exe = words[1]
  if exe:find "^%./" then
    exe = "/root/" .. exe:sub(3)
  elseif not exe:find "^/" then
    exe = "/usr/bin/" .. exe
  end
  return host:exec(parent, words, { exe = exe, sid = sid, uid = 0, euid = 0 })
end

-- The programs of the text, each below the shell; what sudo and the like start comes below them.
local function start_programs(policy, shell, text, sid)
  for _, one in ipairs(policy.command.parse(text)) do
    local words = expanded(one.words)
    while words[1] and not builtins[words[1]] do
      start(policy.host, shell, words, sid)
      if words[1] ~= "sudo" and words[1] ~= "nohup" and words[1] ~= "timeout" then
        break
      end
      repeat
        table.remove(words, 1)
      until not words[1] or not words[1]:find "^%-"
    end
  end
end

local function sees(policy, attack, passed, sid)
  local host = policy.host
  local before = #host.alerts
  local shell = host:process { comm = "bash", args = { "bash" }, exe = "/usr/bin/bash", sid = sid, uid = 0, euid = 0 }
  local text = table.concat(attack, "\n")
  if passed then
    shell = start(host, shell, { "/usr/bin/" .. (attack.executor == "sh" and "sh" or "bash"), "-c", text }, sid)
  end
  start_programs(policy, shell, text, sid)
  host.alive = {}
  host:advance(700) -- what was held back is told again
  return #host.alerts > before
end

---@return table result  passed, typed and total; missed = { attack... }; by = { [policy] = count }
function coverage.measure()
  local result = { passed = 0, typed = 0, missed = {}, by = {}, total = 0 }
  local hosts = policies()
  for number, attack in ipairs(coverage.attacks()) do
    local passed, typed = false, false
    for _, policy in ipairs(hosts) do
      local one, other = sees(policy, attack, true, number * 2), sees(policy, attack, false, number * 2 + 1)
      passed, typed = passed or one, typed or other
      result.by[policy.name] = (result.by[policy.name] or 0) + ((one or other) and 1 or 0)
    end
    result.total = number
    result.passed, result.typed = result.passed + (passed and 1 or 0), result.typed + (typed and 1 or 0)
    if not passed then
      table.insert(result.missed, attack)
    end
  end
  return result
end

local function show(result, verbose)
  print(("%d of %d attacks are told of when a shell is passed their text, %d when they are typed"):format(result.passed,
    result.total, result.typed))
  for _, attack in ipairs(verbose and result.missed or {}) do
    print(("missed  %-10s %s  %s"):format(attack.technique, attack.test, attack[#attack]:sub(1, 90)))
  end
  for name, count in pairs(verbose and result.by or {}) do
    print(("%4d  %s"):format(count, name))
  end
end

if arg and arg[0] and arg[0]:find "coverage%.lua$" then
  jit.off() -- LuaJIT 2.1.0-beta3 crashes when it compiles this
  show(coverage.measure(), arg[1] == "-v")
end

return coverage
