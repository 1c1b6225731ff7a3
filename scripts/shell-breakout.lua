-- A program that is no shell is made to give one: by its own commands, or to get a terminal for a shell that has none.
-- Why: who came in through a narrow door (sudo of one program, a restricted shell, a web shell) widens it so: awk,
--   find,
--   vim, tar and others can start a shell; python's pty gives it a terminal.
-- ATT&CK: T1059.004, T1059.006, T1548.003
-- False positives: administrators' one-liners with find -exec sh.
-- Not seen: what is typed inside of the program (:!sh in vim), where the shell is its child with no sign of how.
-- Options: ignore = texts in command lines that are left out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local after = command.after

local ignore = mw.option("ignore", {})

local function quoted_shell(text) -- system("/bin/sh"), exec '/bin/bash'
  return text:find "system *%(? *[\"'][/%w]*sh[ &\"']" or text:find "exec *%(? *[\"'][/%w]*sh[ &\"']"
    or text:find "spawn *%(? *[\"'][/%w]*sh[\"']" or text:find "popen *%(? *[\"'][/%w]*sh[\"']"
    or text:find "call *%(? *%[?[\"'][/%w]*sh[\"']"
end

local function vim(text)
  return after(text, "%-c *:?!", "sh%f[%W]") or after(text, "%-c *:?py", "os%.exec")
    or after(text, "%+", "[/ ]sh%f[%W]") and text:find "!"
end

-- program -> does this command line give a shell?
local ways = {
  awk = quoted_shell, gawk = quoted_shell, mawk = quoted_shell, perl = quoted_shell, ruby = quoted_shell,
    lua = quoted_shell,
  python = function(text) return text:find "pty%.spawn" or quoted_shell(text) end,
  php = quoted_shell, node = quoted_shell, gdb = quoted_shell,
    expect = function(text) return text:find "spawn *[/%w]*sh%f[%W]" end,
  find = function(text) return text:find "%-exec[dir]* +[/%w]*sh +[;\\]" or text:find "%-exec[dir]* +[/%w]*sh +%-p" end,
  tar = function(text)
    return after(text, "checkpoint%-action=exec=", "sh") or after(text, "%-%-to%-command=", "sh")
  end,
  vim = vim, vi = vim, vimdiff = vim, rvim = vim,
  emacs = function(text) return text:find "%(term *[\"'][/%w]*sh" end,
  script = function(text) return after(text, "%-qc? ", "sh /dev/null") or after(text, "/dev/null %-qc ", "sh") end,
  env = function(text) return text:find "env +/bin/[bd]?a?sh%s*%-?p?$" end,
  flock = function(text) return text:find "%-u +/ +[/%w]*sh" end,
  nice = function(text) return text:find "^%S+ +[/%w]*/sh$" end,
  busybox = function(text) return text:find "^%S+ +[abdhk]*a?sh$" end,
  rsync = function(text) return text:find "%-e *'?[/%w]*sh" and text:find "0<&2" end,
  ssh = function(text) return after(text, "ProxyCommand=", "sh 0<&2") end,
  capsh = function(text) return text:find "%-%-$" end,
  gcc = function(text) return text:find "%-wrapper +[/%w]*sh" end,
  git = function(text) return after(text, "PAGER=", "sh") end,
  ed = function() return false end,
}

local function kind(name, text)
  return name == "python" and text:find "pty%.spawn" and "gets a terminal for a shell" or "is made to give a shell"
end

return mw.script {
  name = "shell-breakout",
  tags = { "attack.t1059.004", "attack.t1059.006", "attack.t1548.003" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local name = ev.args and command.is(ev, ways)
      local text = name and command.flat(command.text(ev))
      if text and ways[name](text) and not command.contains(text, ignore) then
        mw.alert { severity = ev.euid == 0 and "high" or "medium", key = (ev.sid or "?") .. name, dedup = "1m",
          event = ev,
          tags = { name == "python" and "attack.t1059.006" or "attack.t1059.004", "attack.t1548.003" },
          text = ("%s %s: %s"):format(name, kind(name, text), command.who(ev)) }
      end
    end,
  },
}
