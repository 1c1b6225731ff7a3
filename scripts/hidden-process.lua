-- A process that lives, and that /proc does not show as it is: hidden, or covered by a mount.
-- Why: the events and kill() come from the kernel, the list of /proc is what ps and all others look at. Where a process
--   lives by kill(), and its pid is not listed or its /proc/PID cannot be opened, twice in a row, something stands
--   between. So all processes of which events told are asked for, and every pid besides, up to the largest that is
--   known. Also the commands of such tricks: a mount over /proc/PID, hidepid, the signals by which known rootkits hide
--   a process (kill -31, -63, -64).
-- ATT&CK: T1014, T1564
-- False positives: kill with these real-time signals by programs that use them (`signals` switches it off).
-- Not seen: a rootkit that lies to kill() too, or, of the pids that no event told of, one that passes the process off
--   as a thread. A library (ld.so.preload) hides from ps, not from here: see ld-preload and shell-profile.
-- Options: every = 30 (seconds between looks at all); again = 2 (seconds until the second look); sweep = 8192 (pids a
--   second that no event told of, 0: none); signals = true
local mw = require "moonwatch"
local command = require "moonwatch.command"

local every = mw.option("every", 30)
local again = mw.option("again", 2)
local sweep = mw.option("sweep", 8192)
local signals = mw.option("signals", true)

local PORTION = 1000 -- processes that are asked for in one call: it must not take long

local largest = 1 -- pid that is known
local told_why

-- What /proc and kill() say of these pids; undecided: nothing.
local function ask(pids)
  local answer, listed = mw.census(pids)
  if not answer then
    if told_why ~= listed then
      told_why = listed
      mw.log("hidden processes are not found: " .. listed)
    end
    return {}
  end
  largest = math.max(largest, listed[#listed] or 1)
  return answer
end

-- --- those of which events told ---------------------------------------------------------------------

local function covered(flags)
  return flags and flags.lives and not flags.thread and not (flags.listed and flags.open)
end

local function tell(process)
  mw.alert { severity = "critical", key = process.id, dedup = "1h", event = process, tags = { "attack.t1014",
    "attack.t1564" },
    text = ("pid %d lives, but /proc/%d does not show it: %s"):format(process.pid, process.pid, command.who(process)) }
end

-- Those of the processes that are covered.
local function find(processes)
  local pids, found = {}, {}
  for i, process in ipairs(processes) do
    pids[i] = process.pid
  end
  local answer = ask(pids)
  for _, process in ipairs(processes) do
    if covered(answer[process.pid]) then
      found[#found + 1] = process
    end
  end
  return found
end

-- What ends just now is not there either: so the same processes are looked at a second time.
local function look_again(suspects)
  local left = {}
  for _, suspect in ipairs(suspects) do
    local process = mw.proc(suspect.pid)
    if process and process.id == suspect.id then
      left[#left + 1] = process
    end
  end
  for _, process in ipairs(find(left)) do
    tell(process)
  end
end

local function look(next_process)
  local processes = {}
  for process in next_process do
    largest = math.max(largest, process.pid)
    if process.id then
      processes[#processes + 1] = process
    end
    if #processes == PORTION then
      mw.after(0, function() look(next_process) end)
      break
    end
  end
  local suspects = find(processes)
  if #suspects > 0 then
    mw.after(again, function() look_again(suspects) end)
  end
end

mw.every(every, function() look(mw.processes()) end)

-- --- all other pids ---------------------------------------------------------------------------------

-- Those of the pids that live, and of which neither /proc nor an event told.
local function find_unknown(pids)
  local found = {}
  for pid, flags in pairs(ask(pids)) do
    if flags.lives and not flags.thread and not flags.listed and not mw.proc(pid) then
      found[#found + 1] = pid
    end
  end
  return found
end

local function sweep_again(suspects)
  for _, pid in ipairs(find_unknown(suspects)) do
    mw.alert { severity = "critical", key = "pid " .. pid, dedup = "1h", tags = { "attack.t1014", "attack.t1564" },
      text = ("pid %d lives, but /proc does not list it, and no event told of it"):format(pid) }
  end
end

local at, rest = 1, 0 -- the next pid; seconds until the next round

local function sweep_on()
  if rest > 0 then
    rest = rest - 1
    return
  end
  local pids = {}
  for pid = at, math.min(at + sweep - 1, largest) do
    pids[#pids + 1] = pid
  end
  at = at + sweep
  if at > largest then
    at, rest = 1, every
  end
  local suspects = find_unknown(pids)
  if #suspects > 0 then
    mw.after(again, function() sweep_again(suspects) end)
  end
end

if sweep > 0 then
  sweep = math.min(sweep, 8192)
  ask {} -- the largest that is known
  mw.every(1, sweep_on)
end

-- --- the commands of such tricks ----------------------------------------------------------------------

local function trick(ev)
  if not ev.args then
    return nil
  elseif command.is(ev, { mount = true }) then
    for _, path in ipairs(command.operands(ev.args, "to")) do
      if path:find "^/proc/%d+/*$" then
        return "a mount over or from " .. path
      end
    end
    return command.text(ev):find "hidepid=[12in]" and "hides the processes of others in /proc"
  elseif signals and command.is(ev, { kill = true }) then
    local signal = command.flag(ev.args, "-31", "-63", "-64")
    return signal and ("the signal %s, by which rootkits hide a process"):format(signal)
  end
end

return mw.script {
  name = "hidden-process",
  tags = { "attack.t1014", "attack.t1564" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local what = trick(ev)
      if what then
        mw.alert { severity = "high", key = (ev.sid or "?") .. what, dedup = "1m", event = ev,
          tags = { "attack.t1014", "attack.t1564" }, text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
