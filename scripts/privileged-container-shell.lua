-- A shell in a container that has all capabilities, or the one to administer the system: one step from the host.
-- Why: such containers exist (agents, builds); a shell in one is rare, and whoever has it has the host.
-- ATT&CK: T1609, T1611
-- False positives: entry points that are shell scripts (only shells with a terminal or without a script are told of).
-- Not seen: a shell that ends before it can be asked; programs that are no shells.
-- Options: ignore = texts in control groups that are left out; all = false (also shells that run a script)
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.option("ignore", {})
local all = mw.option("all", false)
local SYS_ADMIN, SYS_MODULE, SYS_PTRACE, SYS_RAWIO = 21, 16, 19, 17

local function has(capabilities, number)
  local digit = #capabilities - math.floor(number / 4)
  local nibble = tonumber(capabilities:sub(digit, digit), 16)
  return nibble ~= nil and math.floor(nibble / 2 ^ (number % 4)) % 2 == 1
end

local function strong(capabilities)
  return capabilities and has(capabilities, SYS_ADMIN)
    and (has(capabilities, SYS_MODULE) and has(capabilities, SYS_PTRACE) and has(capabilities, SYS_RAWIO)
      and "all capabilities" or "the capability to administer the system")
end

local function interactive(ev)
  return ev.tty or command.flag(ev.args, "-i") or not command.told(ev) and #command.operands(ev.args) == 0
end

return mw.script {
  name = "privileged-container-shell",
  tags = { "attack.t1609", "attack.t1611" },
  needs = { "exe", "args", "comm", "uid", "euid", "loginuid", "sid", "container", "cgroup", "tty" },
  on = {
    exec = function(ev)
      if not ev.container or not ev.args or not ev.pid or not command.is(ev, command.shells) or not (all
        or interactive(ev))
        or command.contains(ev.cgroup, ignore) then
        return
      end
      local status = ev:status()
      local what = status and strong(status.cap_eff)
      if what then
        mw.alert { severity = "high", key = ev.container, dedup = "5m", event = ev,
          text = ("a shell in the container %s has %s: %s"):format(ev.container, what, command.who(ev)) }
      end
    end,
  },
}
