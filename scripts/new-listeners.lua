-- A program that begins to listen on a port, where no such program listened before.
-- Why: a bind shell, a forgotten test server, a database that is open to all. What listens at the start is known and
--   not
--   told of; one look at each new process a moment after its start, and one at all now and then.
-- ATT&CK: T1571, T1205
-- False positives: services that are restarted on another port; ports of a range that changes each time (`ephemeral`).
-- Not seen: what listens for less than `every`, unless a new process begins it within `soon`; raw sockets and knocking.
-- Options: soon = 0.5 (seconds after the start); every = 60 (seconds, a look at all); ephemeral = false (also ports
--   from
--   32768 on); ignore = names of programs that are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local soon = mw.option("soon", 0.5)
local every = mw.option("every", 60)
local ephemeral = mw.option("ephemeral", false)
local ignore = mw.set(mw.option("ignore", { "systemd" }))

local KNOWN_MAX = 10000
local known, count = {}, 0 -- [program and port] = true

local function severity_of(process, socket)
  if command.is(process, command.shells) or command.is(process, { nc = true, ncat = true, socat = true })
    or command.begins(process.exe, { "/tmp/", "/var/tmp/", "/dev/shm/", "/memfd:" }) then
    return "high"
  end
  return socket.local_ip and (socket.local_ip:find "^127%." or socket.local_ip == "::1") and "low" or "medium"
end

local function tell(process, socket)
  mw.alert { severity = severity_of(process, socket), key = (process.exe or process.comm or "?") .. socket.local_port,
    dedup = "1m", event = process,
    text = ("listens on %s port %d: %s"):format(socket.local_ip or "?", socket.local_port, command.who(process)) }
end

local function look(process, learning)
  if not process or command.is(process, ignore) then
    return
  end
  for _, socket in ipairs(process:sockets() or {}) do
    local port = socket.state == "listen" and socket.local_port
    local key = port and ("%s %s"):format(process.exe or process.comm or "?", port)
    if port and (ephemeral or port < 32768) and not known[key] then
      if count >= KNOWN_MAX then
        known, count = {}, 0
      end
      known[key], count = true, count + 1
      if not learning then
        tell(process, socket)
      end
    end
  end
end

local function look_at_all(learning)
  for process in mw.processes() do
    look(process, learning)
  end
end

local started = false
mw.after(0, function() -- what runs already
  look_at_all(true)
  started = true
end)
mw.every(every, function() look_at_all(not started) end)

return mw.script {
  name = "new-listeners",
  tags = { "attack.t1571", "attack.t1205" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local pid, id = ev.pid, ev.id
      if pid and started then
        mw.after(soon, function()
          local process = mw.proc(pid)
          if process and process.id == id then
            look(process, false)
          end
        end)
      end
    end,
  },
}
