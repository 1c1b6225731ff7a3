-- A process that attaches to one of another user, or to one that it did not start, as a debugger does.
-- Why: ptrace reads passwords out of a program's memory and puts code into it.
-- ATT&CK: T1055.008, T1003.007
-- False positives: root that debugs a service (medium); crash handlers such as apport or systemd-coredump: `ignore`.
-- Not seen: reading /proc/PID/mem or process_vm_readv without attaching; a child that asks to be traced.
-- Options: ignore = names of tracers that are left out; strangers = true (also own processes that are no children)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "apport", "systemd-coredump", "crash_handler", "chrome_crashpad", "criu" }))
local strangers = mw.option("strangers", true)
local debuggers = mw.set { "gdb", "gdbserver", "lldb", "lldb-server", "strace", "ltrace", "rr", "dlv", "perf",
  "valgrind", "gcore" }

local function started(tracer, ev)
  return ev:ancestor(function(process) return process.pid == tracer.pid end) ~= nil
end

-- severity and reason, or nil
local function judge(tracer, ev)
  if not tracer.euid or not ev.euid then
    return nil
  elseif tracer.euid ~= ev.euid then
    return tracer.euid == 0 and "medium" or "critical", ("of user %d, as user %d"):format(ev.euid, tracer.euid)
  elseif strangers and not command.is(tracer, debuggers) and not started(tracer, ev) then
    return "medium", "that it did not start, and is no debugger"
  end
end

return mw.script {
  name = "ptrace-across-users",
  tags = { "attack.t1055.008", "attack.t1003.007" },
  needs = command.needs,
  on = {
    ptrace = function(ev)
      local tracer = ev.tracer and ev.tracer ~= 0 and ev.tracer ~= ev.pid and mw.proc(ev.tracer)
      if not tracer or command.is(tracer, ignore) then
        return -- it lets go, looks at itself (sanitizers do), is gone already, or is known
      end
      local severity, why = judge(tracer, ev)
      if severity then
        mw.alert { severity = severity, key = tracer.id, dedup = "1m", event = ev,
          text = ("attached to %s (pid %s) %s: %s"):format(ev.comm or "?", ev.pid or "?", why, command.who(tracer)) }
      end
    end,
  },
}
