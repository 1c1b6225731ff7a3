-- A command that removes, empties or overwrites logs or a shell's history, or keeps history from being written.
-- Why: who wants to stay unseen begins here.
-- ATT&CK: T1070.002, T1070.003
-- False positives: logrotate, tmpfiles, packages (`ignore`); an administrator who frees space.
-- Not seen: what a program does without a command; `history -c` and redirections typed into a shell, which are no
--   program.
-- Options: ignore = names of programs above it whose doings are left out; logs = beginnings of the paths of logs
local mw = require "moonwatch"
local command = require "moonwatch.command"

local ignore = mw.set(mw.option("ignore", { "logrotate", "systemd-tmpfile", "dpkg", "apt", "apt-get", "rpm", "dnf",
  "yum",
  "savelog", "newsyslog", "puppet", "chef-client", "salt-minion", "ansible" }))
local logs = mw.option("logs", { "/var/log/", "/var/audit/", "/var/spool/mail/", "/run/log/journal", "/var/run/utmp",
  "/run/utmp" })
local histories = { "_history$", "%.histfile$", "%$HISTFILE$", "/%.history$", "fish_history" }
local removers = mw.set { "rm", "unlink", "shred", "srm", "wipe", "truncate" }
local writers = mw.set { "dd", "cp", "ln", "tee", "mv", "sed" }

local function is_history(path)
  for _, pattern in ipairs(histories) do
    if path:find(pattern) then
      return true
    end
  end
end

local function precious(path)
  return #path <= 4096 and (command.begins(path, logs) or is_history(path) or path:find "/docker/containers/.*%.log$")
end

local function removes(ev)
  for _, path in ipairs(command.is(ev, removers) and command.operands(ev.args, "s") or {}) do
    if precious(path) then
      return "removes or empties " .. path
    end
  end
end

local function overwrites(ev)
  local path = command.is(ev, writers) and command.writes_to(ev, function(path) return precious(path) end)
  local nothing = path and (command.contains(command.text(ev), { "/dev/null", "/dev/zero", "/dev/random",
    "/dev/urandom" })
    or command.is(ev, { sed = true }))
  return nothing and "overwrites " .. path
end

-- What is built into the shell: history -c, > /var/log/x, HISTFILE=/dev/null, set +o history
local function built_in(ev)
  for _, one in ipairs(command.commands(ev)) do
    local line = table.concat(one.words, " ")
    local name = one.words[1] or ""
    if line:find "^history %-%a*[cwd]" or line:find "^set %+o history" or line:find "^unset HIST" then
      return "keeps or clears history with " .. line
    elseif command.contains(line .. " " .. table.concat(one.assigns, " "), { "HISTFILE=/dev/null", "HISTSIZE=0",
      "HISTFILESIZE=0",
      "HISTCONTROL=ignore", "HISTIGNORE=" }) then
      return "keeps history from being written"
    end
    local path = (name == "" or name == "echo" or name == ":" or name == "cat" or name == "true") and one.writes[1]
    if path and precious(path) and not path:find "/cron" then
      return "overwrites " .. path
    end
  end
end

local function by_journal(ev)
  return command.is(ev, { journalctl = true })
    and command.flag(ev.args, "--vacuum-time", "--vacuum-size", "--vacuum-files") and "vacuums the journal"
    or command.is(ev, { dmesg = true }) and command.flag(ev.args, "-c", "-C", "--clear", "--read-clear")
      and "clears the kernel's log"
end

return mw.script {
  name = "log-wiping",
  tags = { "attack.t1070.002", "attack.t1070.003" },
  needs = command.needs,
  on = {
    exec = function(ev)
      local what = removes(ev) or overwrites(ev) or built_in(ev) or by_journal(ev)
      if what and not command.below(ev, ignore) then
        mw.alert { severity = "high", key = (ev.sid or "?") .. what, dedup = "1m", event = ev,
          tags = { (what:find "istory" or what:find "HIST") and "attack.t1070.003" or "attack.t1070.002" },
          text = ("%s: %s"):format(what, command.who(ev)) }
      end
    end,
  },
}
