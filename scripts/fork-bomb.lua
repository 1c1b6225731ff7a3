-- A session whose processes become many more within seconds: a fork bomb, or a server that runs away.
-- Why: counts what grows (forks less exits), not what is busy: a large build forks thousands and ends them again. In a
--   storm, when single events are summed up, the parent with the many children of one name is told instead.
-- ATT&CK: T1499.001
-- False positives: a server that starts hundreds of workers at once; load tests.
-- Not seen: what grows slower than `grown` within `span`; threads.
-- Options: grown = 400 (processes more); span = 10s (within); stop = false (SIGSTOP what forks most; needs
--   --allow-kill)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local grown = mw.option("grown", 400)
local span = mw.option("span", "10s")
local stop = mw.option("stop", false)

local alive = mw.window { span = span, values = 0 } -- [user and session] = forks less exits

local function key_of(ev)
  return ev.uid and ev.sid and ("user %d, session %d"):format(ev.uid, ev.sid)
end

local function tell(ev, key, what)
  local told = mw.alert { severity = "high", key = key, dedup = "1m", event = ev,
    text = ("%s (%s): %s"):format(what, key, command.who(ev)) }
  if told and stop then
    local ok, why = mw.stop(ev)
    mw.log(ok and "stopped pid " .. ev.pid or "not stopped: " .. tostring(why))
  end
end

return mw.script {
  name = "fork-bomb",
  tags = { "attack.t1499.001" },
  needs = command.needs,
  on = {
    fork = function(ev)
      local key = key_of(ev)
      alive:add(key, 1)
      local more = alive:sum(key)
      if more >= grown then
        tell(ev, key, ("%d processes more within %s"):format(more, span))
      end
    end,
    exit = function(ev)
      alive:add(key_of(ev), -1)
    end,
    storm = function(ev)
      if ev.phase == "sum" and (ev.children or 0) >= grown and (ev.distinct or 9) <= 2 and ev.pid then
        tell(ev, key_of(ev) or "pid " .. ev.pid, ("a storm: %d children of %d names"):format(ev.children, ev.distinct))
      end
    end,
  },
}
