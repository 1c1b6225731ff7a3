-- A process that the kernel tells of, and that /proc does not show as it is: hidden, or covered by a mount.
-- Why: the events come from the kernel, /proc is what ps and all others look at. Where a process has started, has not
--   ended,
--   and its /proc/PID cannot be read twice in a row, something stands between. Also the commands of such tricks: a
--   mount
--   over /proc/PID, hidepid, the signals by which known rootkits hide a process (kill -31, -63, -64).
-- ATT&CK: T1014, T1564
-- False positives: kill with these real-time signals by programs that use them (`signals` switches it off).
-- Not seen: a rootkit that leaves /proc/PID open to who knows the pid and hides it from lists only, or that keeps the
--   kernel
--   from telling of it. A library (ld.so.preload) hides from ps, not from here: see ld-preload and shell-profile.
-- Options: every = 30 (seconds between looks at all); again = 2 (seconds until the second look); signals = true
local mw = require "moonwatch"
local command = require "moonwatch.command"

local every = mw.option("every", 30)
local again = mw.option("again", 2)
local signals = mw.option("signals", true)

-- Only "gone" counts: a question that was refused or came to nothing is undecided.
local function hidden(process)
  local stat, why = process:stat()
  return not stat and why and why:find "gone" ~= nil
end

local function tell(process)
  mw.alert { severity = "critical", key = process.id, dedup = "1h", event = process, tags = { "attack.t1014",
    "attack.t1564" },
    text = ("pid %d lives, but /proc/%d does not show it: %s"):format(process.pid, process.pid, command.who(process)) }
end

-- What ends just now is not there either: so the same processes are looked at a second time.
local function look()
  local suspects = {}
  for process in mw.processes() do
    if process.id and hidden(process) then
      suspects[#suspects + 1] = process
    end
  end
  if #suspects == 0 then
    return
  end
  mw.after(again, function()
    for _, suspect in ipairs(suspects) do
      local process = mw.proc(suspect.pid)
      if process and process.id == suspect.id and hidden(process) then
        tell(process)
      end
    end
  end)
end

mw.every(every, look)

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
