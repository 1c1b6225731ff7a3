-- A program that crashes again and again.
-- Why: a service in a loop of crashes and restarts, or somebody who tries an exploit until it fits.
-- ATT&CK: T1499.004, T1203
-- False positives: test suites and fuzzers that crash on purpose (`ignore`).
-- Not seen: a program that catches the signal and exits with a code; crashes of threads end the whole process and
--   count once.
-- Options: crashes = 3 (of one program); span = 10m (within); ignore = names of programs above it that are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local crashes = mw.option("crashes", 3)
local span = mw.option("span", "10m")
local ignore = mw.set(mw.option("ignore", { "afl-fuzz", "honggfuzz", "ctest", "pytest", "libfuzzer" }))
local names = { [3] = "SIGQUIT", [4] = "SIGILL", [6] = "SIGABRT", [7] = "SIGBUS", [8] = "SIGFPE", [11] = "SIGSEGV",
  [31] = "SIGSYS" }

local seen = mw.window { span = span }

return mw.script {
  name = "crash-loop",
  tags = { "attack.t1499.004", "attack.t1203" },
  needs = command.needs,
  on = {
    exit = function(ev)
      local program = ev.exe or ev.comm
      if not ev.signal or not program or not (ev.core or names[ev.signal]) or command.below(ev, ignore) then
        return
      end
      local count = seen:add(program, ev.signal)
      if count >= crashes then
        mw.alert { severity = "medium", key = program, dedup = span, event = ev,
          text = ("%s crashed %d times within %s, now by %s: %s"):format(program, count, span,
            names[ev.signal] or "signal " .. ev.signal, command.who(ev)) }
      end
    end,
  },
}
