-- A file that was downloaded is run in the same session, or what is downloaded goes right into a shell.
-- Why: the usual way from a foothold to more. The name of the file connects both: `curl -O http://x/a.sh`, then `sh
--   a.sh`.
--   What was decoded (base64 -d, xxd -r) and goes into a shell is told too.
-- ATT&CK: T1105, T1059.004, T1140
-- False positives: installers that people pipe into a shell (rustup, nvm, docker): medium, as nobody can tell the
--   difference.
-- Not seen: a file under another name than it had in the address or behind -o; a program that downloads by itself.
-- Options: span = 10m (from the download to the start); ignore = texts in the command lines of downloads that are left
--   out
local mw = require "moonwatch"
local command = require "moonwatch.command"

local span = mw.option("span", "10m")
local ignore = mw.option("ignore", {})
local downloaders = mw.set { "curl", "wget", "fetch", "aria2c", "lwp-download", "scp", "sftp", "rsync", "ftpget",
  "tftp" }
local copies = mw.set { "scp", "sftp", "rsync" }
local decoders = mw.set { "base64", "base32", "xxd", "openssl", "uudecode", "b64decode" }

-- The value of an option: -o FILE, -oFILE, --output FILE, --output=FILE
local function value_of(words, short, long)
  local bunch = "^%-%a*" .. short .. "(.*)$"
  for i = 2, #words do
    local word = words[i]
    if word == long then
      return words[i + 1]
    elseif word:sub(1, #long + 1) == long .. "=" then
      return word:sub(#long + 2)
    end
    local value = word:sub(1, 2) ~= "--" and word:match(bunch)
    if value then
      return value == "" and words[i + 1] or value
    end
  end
end

local function downloaded(ev)
  local name = ev.args and command.is(ev, downloaders)
  if not name or command.contains(command.text(ev), ignore) then
    return nil
  end
  if copies[name] then -- from there to here: the file keeps its name
    return command.base(command.operands(ev.args, "PiloFeS")[1])
  end
  local file = name == "wget" and value_of(ev.args, "O", "--output-document") or value_of(ev.args, "o", "--output")
  if not file or file == "-" then
    local operands = command.operands(ev.args, name == "curl" and "XHdmAux" or nil)
    file = operands[#operands] and operands[#operands]:gsub("[?#].*", "")
  end
  return command.base(file)
end

-- The name of what runs: a script's, else the program's.
local function started(ev)
  local script = command.is(ev, command.shells) or command.is(ev, { python = true, perl = true, ruby = true,
    php = true })
  local file = script and not command.told(ev) and command.operands(ev.args)[1] or not script and ev.exe
  return file and command.base(file) or nil
end

local function tell(ev, severity, what)
  mw.alert { severity = severity, key = (ev.sid or "?") .. what, dedup = "1m", event = ev, tags = { "attack.t1105",
    "attack.t1059.004" }, text = ("%s: %s"):format(what, command.who(ev)) }
end

local runs = mw.sequence {
  by = function(ev)
    local name = downloaded(ev) or started(ev)
    return name and ev.sid and ev.sid .. " " .. name
  end,
  within = span,
  steps = { downloaded, started },
  matched = function(events)
    tell(events[2], "high", ("runs what was downloaded %.0f s before by '%s'"):format(mw.now() - (events[1].time
      or mw.now()),
      command.cut(command.text(events[1]) or "?")))
  end,
}

-- curl | sh in a shell's text; sudo and env may stand before the shell
local function into_shell(ev)
  local from
  for _, one in ipairs(command.commands(ev)) do
    local first = command.base(one.words[1]) or ""
    local name = (first == "sudo" or first == "env" or first == "exec") and command.base(one.words[2]) or first
    from = one.piped and from or nil
    if from and command.shells[name] and not one.words[2 + (name == first and 0 or 1)] or from
      and one.words[2] == "-s" then
      return from
    end
    local decodes = decoders[first] and (command.flag(one.words, "-d", "-D", "--decode", "-r") or first == "b64decode")
    from = (downloaders[first] and "what is downloaded") or (decodes and "what was decoded") or from
  end
end

return mw.script {
  name = "download-and-execute",
  tags = { "attack.t1105", "attack.t1059.004", "attack.t1140" },
  needs = command.needs,
  on = {
    exec = function(ev)
      runs:feed(ev)
      local what = into_shell(ev)
      if what and not command.contains(command.text(ev), ignore) then
        tell(ev, "medium", what .. " goes into a shell")
      end
    end,
  },
}
