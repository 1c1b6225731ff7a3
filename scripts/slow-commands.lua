-- Commands that took long, as they end, and at the end of the watch which programs took the most.
-- Why: what does the boot, the deployment, the login wait for? Wall and processor time side by side tell waiting from
--   computing.
-- ATT&CK: none
-- False positives: none: it is to be read, not to alert. What runs for long on purpose is left out by `most`.
-- Not seen: what still runs at the end.
-- Options: seconds = 1 (of wall time at least); cpu = 0 (seconds of processor time at least); most = 86400 (seconds:
--   longer
--   is a service); ignore = names of programs that are left out; under = names of programs: only what is below one of
--   them;
--   top = 10 (programs in the summary)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local seconds = mw.option("seconds", 1)
local cpu = mw.option("cpu", 0)
local most = mw.option("most", 86400)
local top = mw.option("top", 10)
local ignore = mw.set(mw.option("ignore", { "sleep", "sshd", "bash", "tail", "less", "vim", "man" }))
local under = mw.set(mw.option("under", {}))

local PROGRAMS_MAX = 1000
local programs, count = {}, 0 -- [name] = { times, wall, cpu, longest }

local function add(name, wall, used)
  local row = programs[name]
  if not row then
    if count >= PROGRAMS_MAX then
      return
    end
    count = count + 1
    row = { name = name, times = 0, wall = 0, cpu = 0, longest = 0 }
    programs[name] = row
  end
  row.times, row.wall, row.cpu = row.times + 1, row.wall + wall, row.cpu + used
  row.longest = math.max(row.longest, wall)
end

local function asked_for(ev)
  return ev.duration and ev.duration >= seconds and ev.duration <= most and not command.is(ev, ignore)
    and (not next(under) or command.below(ev, under))
end

mw.at_exit(function()
  local rows = {}
  for _, row in pairs(programs) do
    rows[#rows + 1] = row
  end
  table.sort(rows, function(a, b) return a.wall > b.wall end)
  for i = 1, math.min(top, #rows) do
    local row = rows[i]
    print(("%8.2f s in %d, longest %.2f s, cpu %.2f s: %s"):format(row.wall, row.times, row.longest, row.cpu, row.name))
  end
end)

return mw.script {
  name = "slow-commands",
  needs = command.needs,
  on = {
    exit = function(ev)
      local used = (ev.cpu_user or 0) + (ev.cpu_system or 0)
      if asked_for(ev) and used >= cpu then
        add(command.base(ev.exe) or ev.comm or "?", ev.duration, used)
        print(("%8.2f s  cpu %7.2f s  %s"):format(ev.duration, used, command.cut(command.text(ev) or ev.comm
          or ev.pid, 200)))
      end
    end,
  },
}
